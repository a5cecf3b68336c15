#version 330 core
uniform sampler2D picture;
in vec2 texture_point;
out vec4 out_colour;

void main() {
    out_colour = texture(picture, texture_point);
}
