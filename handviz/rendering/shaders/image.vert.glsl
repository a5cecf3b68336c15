#version 330 core
uniform vec4 rectangle;
in vec2 in_corner;
out vec2 texture_point;

void main() {
    gl_Position = vec4(mix(rectangle.xy, rectangle.zw, in_corner), 0.0, 1.0);
    texture_point = in_corner;
}
