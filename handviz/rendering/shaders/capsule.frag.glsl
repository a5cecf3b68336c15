#version 330 core
// Signed distance to the capsule: a filled core with a dark rim, both antialiased.
in vec2 along_across;
flat in float span;
flat in float radius;
flat in vec3 colour;
out vec4 out_colour;

void main() {
    float beyond = along_across.x - clamp(along_across.x, 0.0, span);
    float distance_px = length(vec2(beyond, along_across.y)) - radius;
    float core = 1.0 - smoothstep(-0.5, 0.5, distance_px);
    float rim = 1.0 - smoothstep(0.5, 2.0, distance_px);
    out_colour = vec4(colour * core, max(core, 0.55 * rim));
}
