#version 330 core
uniform vec4 line_colour;
out vec4 out_colour;

void main() {
    out_colour = line_colour;
}
