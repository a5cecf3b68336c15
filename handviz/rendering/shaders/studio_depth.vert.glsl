#version 330

in vec3 in_position;
in vec3 in_normal;
in vec3 in_marks;

uniform mat4 camera_from_object;
uniform mat4 clip_from_camera;
uniform float sleeve_thickness_m;

void main() {
    vec3 thickened = in_position + in_normal * (in_marks.z * sleeve_thickness_m);
    gl_Position = clip_from_camera * camera_from_object * vec4(thickened, 1.0);
}
