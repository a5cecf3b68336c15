#version 330 core
uniform mat4 clip_from_scene;
uniform mat3 eye_from_scene;
in vec3 in_position;
in vec3 in_normal;
in vec3 in_colour;
#ifdef MARKS_INFERRED
in float in_seen;
out float seen;
#endif
#ifdef FADES_UNCERTAIN
in float in_std_mm;
out float std_mm;
#endif
out vec3 normal;
out vec3 colour;

void main() {
    gl_Position = clip_from_scene * vec4(in_position, 1.0);
    normal = eye_from_scene * in_normal;
    colour = in_colour;
#ifdef MARKS_INFERRED
    seen = in_seen;
#endif
#ifdef FADES_UNCERTAIN
    std_mm = in_std_mm;
#endif
}
