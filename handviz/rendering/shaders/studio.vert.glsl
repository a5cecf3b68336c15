#version 330

in vec3 in_position;
in vec3 in_normal;
in vec3 in_rest;
in vec3 in_marks;  // palm, nail, sleeve

uniform mat4 camera_from_object;
uniform mat4 clip_from_camera;
uniform float sleeve_thickness_m;
// Above 0: vertices are not projected but laid side by side, this many, so that each gets a pixel of its own.
uniform float baked_count;

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
    float column = (float(gl_VertexID) + 0.5) / max(baked_count, 1.0) * 2.0 - 1.0;
    gl_Position = baked_count > 0.0 ? vec4(column, 0.0, 0.0, 1.0) : clip_from_camera * in_camera;
}
