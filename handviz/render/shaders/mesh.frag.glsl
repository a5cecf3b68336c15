#version 330 core
// Eye axes: x right, y down, z away from the eye. Normals point out of the hand.
const vec3 TO_KEY_LIGHT = normalize(vec3(-0.45, -0.65, -0.80));
const vec3 TO_FILL_LIGHT = normalize(vec3(0.80, 0.15, -0.55));
const vec3 TO_EYE = vec3(0.0, 0.0, -1.0);
const vec3 BETWEEN_LIGHT_AND_EYE = normalize(TO_KEY_LIGHT + TO_EYE);
uniform float light_strength;
uniform float opacity;
// What lies behind a translucent hand. Mixing here, not by blending, shows a hand's nearest surface alone.
uniform sampler2D backdrop;
uniform vec4 backdrop_from_fragment;
uniform vec3 background;
in vec3 normal;
in vec3 colour;
out vec4 out_colour;

void main() {
    vec3 n = normalize(normal);
    float facing = dot(n, TO_EYE);
    float inside = step(facing, -0.25);
    n = facing < 0.0 ? -n : n;
    float key = 0.5 + 0.5 * dot(n, TO_KEY_LIGHT);
    float fill = 0.5 + 0.5 * dot(n, TO_FILL_LIGHT);
    float light = 0.16 + 0.78 * key * key + 0.20 * fill;
    // To the 24th power; pow() would cost a third of the frame where the processor draws.
    float gloss = max(dot(n, BETWEEN_LIGHT_AND_EYE), 0.0);
    gloss *= gloss * gloss;
    gloss *= gloss;
    gloss *= gloss;
    gloss *= gloss;
    vec3 lit = colour * mix(1.0, light, light_strength) + 0.16 * light_strength * gloss;
    lit *= mix(1.0, 0.45, inside);
    if (opacity < 1.0) {
        vec2 point = gl_FragCoord.xy * backdrop_from_fragment.xy + backdrop_from_fragment.zw;
        bool is_inside = point == clamp(point, 0.0, 1.0);
        lit = mix(is_inside ? texture(backdrop, point).rgb : background, lit, opacity);
    }
    out_colour = vec4(lit, 1.0);
}
