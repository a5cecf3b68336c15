#version 330 core
uniform vec4 line_colour;
out vec4 out_colour;
#ifdef FADES_UNCERTAIN
uniform vec3 fade_mm;
in float std_mm;
#endif

void main() {
    out_colour = line_colour;
#ifdef FADES_UNCERTAIN
    out_colour.a *= mix(1.0, fade_mm.z, smoothstep(fade_mm.x, fade_mm.y, std_mm));
    if (out_colour.a < 0.004) {
        discard;
    }
#endif
}
