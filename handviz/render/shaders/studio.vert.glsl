#version 330

in vec3 in_position;
in vec3 in_normal;
in vec3 in_rest;
in vec3 in_marks;  // palm, nail, sleeve

uniform mat4 camera_from_object;
uniform mat4 clip_from_camera;
uniform float sleeve_thickness_m;

out vec3 position;
out vec3 normal;
out vec3 rest;
out vec3 marks;

void main() {
    vec3 thickened = in_position + in_normal * (in_marks.z * sleeve_thickness_m);
    vec4 in_camera = camera_from_object * vec4(thickened, 1.0);
    position = in_camera.xyz;
    normal = mat3(camera_from_object) * in_normal;
    rest = in_rest;
    marks = in_marks;
    gl_Position = clip_from_camera * in_camera;
}
