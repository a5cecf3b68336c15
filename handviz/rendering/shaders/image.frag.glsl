#version 330 core
uniform sampler2D image_texture;
in vec2 texture_point;
out vec4 out_colour;

void main() {
    out_colour = texture(image_texture, texture_point);
}
