#version 330 core
// Slightly nearer than the surface, so that edges are visible on it.
uniform mat4 clip_from_scene;
uniform float depth_bias;
in vec3 in_position;
#ifdef FADES_UNCERTAIN
in float in_std_mm;
out float std_mm;
#endif

void main() {
    gl_Position = clip_from_scene * vec4(in_position, 1.0);
    gl_Position.z -= depth_bias * gl_Position.w;
#ifdef FADES_UNCERTAIN
    std_mm = in_std_mm;
#endif
}
