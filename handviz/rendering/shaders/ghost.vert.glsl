#version 330 core
// Behind everything, so that the mean hand covers it whatever their depths.
const float DEPTH = 0.9999;
uniform mat4 clip_from_scene;
uniform mat3 eye_from_scene;
in vec3 in_position;
in vec3 in_normal;
in vec3 in_colour;
out vec3 normal;
out vec3 colour;

void main() {
    gl_Position = clip_from_scene * vec4(in_position, 1.0);
    gl_Position.z = DEPTH * gl_Position.w;
    normal = eye_from_scene * in_normal;
    colour = in_colour;
}
