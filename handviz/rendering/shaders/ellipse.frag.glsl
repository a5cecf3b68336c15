#version 330 core
// An antialiased line around the ellipse with a dark rim, and a little colour inside.
uniform float half_width;
in vec2 position;
flat in vec2 half_axes;
flat in vec3 colour;
out vec4 out_colour;

void main() {
    vec2 unit = position / half_axes;
    float radius = length(unit);
    // Distance to the ellipse to first order: the implicit function divided by the length of its gradient.
    float outside_px = (radius - 1.0) * max(radius, 1e-4) / max(length(unit / half_axes), 1e-6);
    float distance_px = abs(outside_px) - half_width;
    float line = 1.0 - smoothstep(-0.5, 0.5, distance_px);
    float rim = 1.0 - smoothstep(0.5, 1.8, distance_px);
    float inside = 0.12 * (1.0 - smoothstep(-0.5, 0.5, outside_px));
    float cover = max(line, max(0.5 * rim, inside));
    if (cover < 0.004) {
        discard;
    }
    out_colour = vec4(colour * max(line, inside * (1.0 - rim)), cover);
}
