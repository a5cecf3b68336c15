#version 330

in vec3 position;
in vec3 normal;
in vec3 rest;
in vec3 marks;

uniform sampler2D noise;
uniform sampler2D creases;
uniform sampler2DArray prints;
uniform sampler2DShadow shadow_map;
uniform mat4 shadow_from_camera;
uniform float shadow_softness;
uniform float shadow_strength;
uniform vec3 noise_shift;
uniform vec3 back_colour;
uniform vec3 palm_colour;
uniform vec3 nail_colour;
uniform vec3 cloth_colour;
uniform vec3 cloth_second_colour;
uniform float cloth_stripes_per_m;
uniform float mottle;
uniform float gloss;
uniform float crease_depth;
uniform float print_layer;
uniform float print_is_body;
uniform vec2 print_repeats;
uniform vec3 light_direction[2];
uniform vec3 light_colour[2];
uniform vec3 ambient_above;
uniform vec3 ambient_below;
uniform vec3 above;
uniform float label;
// Above 0: colours of vertices, independent of the view: no gloss, no rim, no grain finer than the mesh.
uniform float baked_count;

out vec4 colour;

// Texture coordinates of the creases: metres at rest, the box of creases.py.
const vec2 CREASE_CORNER = vec2(-0.11, -0.22);
const float CREASE_SIDE_M = 0.25;

float grain(float per_m) {
    return texture(noise, (rest.xy + rest.z * vec2(0.61, -0.47)) * per_m + noise_shift.xy).r;
}

vec3 printed(vec2 point) {
    vec3 shown = texture(prints, vec3(point * print_repeats + noise_shift.xy, print_layer)).rgb;
    return shown * shown;
}

vec3 albedo(float fine) {
    float blotches = grain(9.0);
    if (print_layer >= 0.0 && print_is_body > 0.5) {
        return printed(marks.xy) * (1.0 + mottle * (fine - 0.5) * 0.3);
    }
    if (marks.z > 0.5) {
        float stripe = step(0.5, fract((rest.y + rest.x * noise_shift.z) * cloth_stripes_per_m));
        vec3 cloth = print_layer >= 0.0 ? printed(rest.xy * 9.0) : mix(cloth_colour, cloth_second_colour, stripe);
        return cloth * (0.75 + 0.5 * fine);
    }
    float speckle = baked_count > 0.0 ? 0.5 : grain(210.0);
    float variation = 1.0 + mottle * ((blotches - 0.5) * 0.3 + (fine - 0.5) * 0.22 + (speckle - 0.5) * 0.2);
    vec3 skin = mix(back_colour, palm_colour, smoothstep(0.25, 0.85, marks.x + (blotches - 0.5) * 0.3));
    skin *= mix(vec3(1.0), vec3(1.12, 0.90, 0.86), (1.0 - blotches) * mottle);
    if (crease_depth > 0.0) {
        vec3 folds = texture(creases, (rest.xy - CREASE_CORNER) / CREASE_SIDE_M).rgb;
        float fold = mix(folds.g, folds.r, smoothstep(0.3, 0.7, marks.x)) * crease_depth;
        skin *= 1.0 - fold * vec3(0.40, 0.52, 0.55);
        skin *= mix(vec3(1.0), vec3(1.06, 0.86, 0.84), folds.b * crease_depth);
    }
    return mix(skin * variation, nail_colour, marks.y * 0.8);
}

const vec2 TAPS[4] = vec2[4](vec2(0.62, 0.54), vec2(-0.71, 0.32), vec2(0.25, -0.80), vec2(-0.30, -0.22));

float lit_fraction(vec3 n) {
    if (shadow_strength <= 0.0) {
        return 1.0;
    }
    vec3 point = (shadow_from_camera * vec4(position + n * 0.0018, 1.0)).xyz * 0.5 + 0.5;
    if (any(lessThan(point.xy, vec2(0.02))) || any(greaterThan(point.xy, vec2(0.98)))) {
        return 1.0;
    }
    float lit = 0.0;
    for (int i = 0; i < 4; i++) {
        lit += texture(shadow_map, vec3(point.xy + TAPS[i] * shadow_softness, point.z - 0.0008));
    }
    return 1.0 - shadow_strength * (1.0 - lit / 4.0);
}

void main() {
    vec3 n = normalize(normal);
    vec3 view = normalize(-position);
    n = dot(n, view) < 0.0 && baked_count <= 0.0 ? -n : n;
    float fraction = lit_fraction(n);
    float fine = baked_count > 0.0 ? 0.5 : grain(55.0);
    float bump = (fine - 0.5) * 0.2 * mottle;
    n = normalize(n + bump * vec3(0.6, 0.5, 0.0));
    vec3 lit = mix(ambient_below, ambient_above, 0.5 + 0.5 * dot(n, above));
    vec3 shine = vec3(0.0);
    for (int i = 0; i < 2; i++) {
        float facing = dot(n, light_direction[i]);
        vec3 arriving = light_colour[i] * (i == 0 ? fraction : 1.0);
        // Wrapped lighting softens the terminator, more so in red, like subsurface scattering.
        vec3 wrap = vec3(0.22, 0.13, 0.10);
        lit += arriving * max((vec3(facing) + wrap) / (1.0 + wrap), vec3(0.0));
        shine += arriving * pow(max(dot(n, normalize(light_direction[i] + view)), 0.0), 22.0) * gloss;
    }
    float rim = 1.0 - 0.35 * pow(1.0 - max(dot(n, view), 0.0), 3.0);
    if (baked_count > 0.0) {
        rim = 1.0;
        shine = vec3(0.0);
    }
    // The square root of a quarter of the light: eight bits for shadows and for light beyond white.
    colour = vec4(sqrt(clamp((albedo(fine) * lit * rim + shine) * 0.25, 0.0, 1.0)), label);
}
