#version 330 core
uniform vec4 line_colour;
in vec3 normal;
in vec3 colour;
out vec4 out_colour;

void main() {
    out_colour = line_colour;
}
