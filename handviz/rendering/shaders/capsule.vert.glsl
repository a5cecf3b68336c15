#version 330 core
// A quad around the capsule from one point to another, in pixels of the view.
uniform vec2 view_size;
in vec2 in_corner;
in vec2 in_start;
in vec2 in_end;
in vec3 in_colour;
in float in_radius;
out vec2 along_across;
flat out float span;
flat out float radius;
flat out vec3 colour;

void main() {
    vec2 axis = in_end - in_start;
    span = length(axis);
    vec2 along = span > 1e-3 ? axis / span : vec2(1.0, 0.0);
    vec2 across = vec2(-along.y, along.x);
    float reach = in_radius + 2.5;
    along_across = vec2(mix(-reach, span + reach, in_corner.x), mix(-reach, reach, in_corner.y));
    vec2 point = in_start + along * along_across.x + across * along_across.y;
    gl_Position = vec4(point.x / view_size.x * 2.0 - 1.0, 1.0 - point.y / view_size.y * 2.0, 0.0, 1.0);
    radius = in_radius;
    colour = in_colour;
}
