#version 330 core
// Eye axes: x right, y down, z away from the eye. Normals point out of the hand.
const vec3 TO_FILL_LIGHT = normalize(vec3(0.80, 0.15, -0.55));
const vec3 TO_EYE = vec3(0.0, 0.0, -1.0);
uniform vec3 to_key_light;
uniform vec3 between_light_and_eye;
uniform float light_strength;
uniform float gloss_strength;
uniform float flipped_below;
uniform float opacity;
uniform float inside_opacity;
// The image behind a translucent hand; mixing here, not by blending, shows a hand's nearest surface alone.
uniform sampler2D backdrop;
uniform vec4 backdrop_from_fragment;
uniform vec3 background;
// 0 without a background: then colours are premultiplied, and alpha is their coverage.
uniform float backdrop_opacity;
#ifdef MARKS_INFERRED
// As in options.py: colours with their fractions, period and half width of stripes in pixels, ``seen`` where they fade.
uniform vec4 mark_ground;
uniform vec4 mark_stripe;
uniform vec2 mark_size_px;
uniform vec2 mark_fades;
in float seen;
#endif
#ifdef FADES_UNCERTAIN
// As in options.py: standard deviations between which a surface fades, and the opacity above both.
uniform vec3 fade_mm;
// 0 draws certain regions; 1 writes the depth of fading ones, 2 draws these. 3 draws all at once.
uniform int faded_part;
in float std_mm;
#endif
in vec3 normal;
in vec3 colour;
out vec4 out_colour;

void main() {
#ifdef FADES_UNCERTAIN
    float certain = mix(1.0, fade_mm.z, smoothstep(fade_mm.x, fade_mm.y, std_mm));
    if (certain < 0.01 || (faded_part < 3 && (certain < 0.995) != (faded_part > 0))) {
        discard;
    }
    if (faded_part == 1) {
        out_colour = vec4(0.0);
        return;
    }
#endif
    vec3 n = normalize(normal);
    float facing = dot(n, TO_EYE);
    float inside = step(facing, -0.25);
    n = facing < flipped_below ? -n : n;
    float key = 0.5 + 0.5 * dot(n, to_key_light);
    float fill = 0.5 + 0.5 * dot(n, TO_FILL_LIGHT);
    float light = 0.16 + 0.78 * key * key + 0.20 * fill;
    // To the 24th power; pow() would cost a third of the frame with a software renderer.
    float gloss = max(dot(n, between_light_and_eye), 0.0);
    gloss *= gloss * gloss;
    gloss *= gloss;
    gloss *= gloss;
    gloss *= gloss;
    vec3 lit = colour * mix(1.0, light, light_strength) + 0.16 * gloss_strength * gloss;
#ifdef MARKS_INFERRED
    float distance_px = abs(fract((gl_FragCoord.x + gl_FragCoord.y) / mark_size_px.x) - 0.5) * mark_size_px.x;
    float striped = clamp(mark_size_px.y + 0.5 - distance_px, 0.0, 1.0);
    vec3 marked = mix(mix(lit, mark_ground.rgb, mark_ground.a), mark_stripe.rgb, mark_stripe.a * striped);
    lit = mix(marked, lit, smoothstep(mark_fades.x, mark_fades.y, seen));
#endif
    lit *= mix(1.0, 0.45, inside);
    float cover = opacity * mix(1.0, inside_opacity, inside);
#ifdef FADES_UNCERTAIN
    cover *= certain;
    if (faded_part == 2) {
        out_colour = vec4(lit * cover, cover);
        return;
    }
#endif
    float alpha = 1.0;
    if (cover < 1.0) {
        vec2 point = gl_FragCoord.xy * backdrop_from_fragment.xy + backdrop_from_fragment.zw;
        bool is_inside = point == clamp(point, 0.0, 1.0);
        vec3 behind = is_inside ? texture(backdrop, point).rgb : background;
        lit = mix(behind * backdrop_opacity, lit, cover);
        alpha = mix(backdrop_opacity, 1.0, cover);
    }
    out_colour = vec4(lit, alpha);
}
