#version 330

in vec3 position;
in vec3 normal;
in vec3 rest;
in vec3 marks;

uniform sampler2D noise;
uniform vec3 noise_shift;
uniform vec3 back_colour;
uniform vec3 palm_colour;
uniform vec3 nail_colour;
uniform vec3 cloth_colour;
uniform vec3 cloth_second_colour;
uniform float cloth_stripes_per_m;
uniform float mottle;
uniform float gloss;
uniform vec3 light_direction[2];
uniform vec3 light_colour[2];
uniform vec3 ambient_above;
uniform vec3 ambient_below;
uniform float label;

out vec4 colour;

float grain(float per_m) {
    return texture(noise, (rest.xy + rest.z * vec2(0.61, -0.47)) * per_m + noise_shift.xy).r;
}

vec3 albedo() {
    float blotches = grain(9.0);
    float fine = grain(55.0);
    float speckle = grain(210.0);
    float variation = 1.0 + mottle * ((blotches - 0.5) * 0.5 + (fine - 0.5) * 0.45 + (speckle - 0.5) * 0.35);
    vec3 skin = mix(back_colour, palm_colour, smoothstep(0.25, 0.85, marks.x + (blotches - 0.5) * 0.3));
    skin *= mix(vec3(1.0), vec3(1.10, 0.93, 0.90), grain(17.0) * mottle);
    skin = mix(skin * variation, nail_colour, marks.y * 0.8);
    float stripe = step(0.5, fract((rest.y + rest.x * noise_shift.z) * cloth_stripes_per_m));
    vec3 cloth = mix(cloth_colour, cloth_second_colour, stripe) * (0.8 + 0.4 * fine);
    return mix(skin, cloth, step(0.5, marks.z));
}

void main() {
    vec3 n = normalize(normal);
    vec3 view = normalize(-position);
    n = dot(n, view) < 0.0 ? -n : n;
    float bump = (grain(120.0) - 0.5) * 0.25 * mottle;
    n = normalize(n + bump * vec3(0.6, 0.5, 0.0));
    vec3 lit = mix(ambient_below, ambient_above, 0.5 - 0.5 * n.y);
    vec3 shine = vec3(0.0);
    for (int i = 0; i < 2; i++) {
        float facing = dot(n, light_direction[i]);
        // A little wrap softens the terminator as scattering skin does.
        lit += light_colour[i] * max((facing + 0.15) / 1.15, 0.0);
        shine += light_colour[i] * pow(max(dot(n, normalize(light_direction[i] + view)), 0.0), 22.0) * gloss;
    }
    float rim = 1.0 - 0.35 * pow(1.0 - max(dot(n, view), 0.0), 3.0);
    colour = vec4(albedo() * lit * rim + shine, label);
}
