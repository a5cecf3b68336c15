#version 330 core
// A quad around an ellipse, in pixels of the view.
uniform vec2 view_size;
uniform float half_width;
in vec2 in_corner;
in vec2 in_centre;
in vec2 in_long;
in vec2 in_short;
in vec3 in_colour;
out vec2 position;
flat out vec2 half_axes;
flat out vec3 colour;

void main() {
    half_axes = max(vec2(length(in_long), length(in_short)), vec2(0.5));
    vec2 along = length(in_long) > 1e-3 ? normalize(in_long) : vec2(1.0, 0.0);
    vec2 across = vec2(-along.y, along.x);
    position = (in_corner * 2.0 - 1.0) * (half_axes + half_width + 2.5);
    vec2 point = in_centre + along * position.x + across * position.y;
    gl_Position = vec4(point.x / view_size.x * 2.0 - 1.0, 1.0 - point.y / view_size.y * 2.0, 0.0, 1.0);
    colour = in_colour;
}
