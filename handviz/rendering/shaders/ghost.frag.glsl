#version 330 core
// Faint where the surface faces the eye, stronger and paler at its outline. Eye axes: z away from the eye.
const vec3 OUTLINE_COLOUR = vec3(0.93, 0.97, 1.0);
const float FACING_COVER = 0.25;
const float OUTLINE_COVER = 0.75;
in vec3 normal;
in vec3 colour;
out vec4 out_colour;

void main() {
    float facing = -normalize(normal).z;
    float outline = 1.0 - facing;
    outline *= outline;
    outline *= outline;
    // No discard, which would cost a software renderer the test of depth before this.
    float cover = step(0.0, facing) * mix(FACING_COVER, OUTLINE_COVER, outline);
    out_colour = vec4(mix(colour, OUTLINE_COLOUR, 0.15 + 0.45 * outline) * cover, cover);
}
