#version 330 core
// A little nearer than the surface, so that edges lie on it.
uniform mat4 clip_from_scene;
uniform float depth_bias;
in vec3 in_position;
#ifdef FADES_UNCERTAIN
in float in_deviation_mm;
out float deviation_mm;
#endif

void main() {
    gl_Position = clip_from_scene * vec4(in_position, 1.0);
    gl_Position.z -= depth_bias * gl_Position.w;
#ifdef FADES_UNCERTAIN
    deviation_mm = in_deviation_mm;
#endif
}
