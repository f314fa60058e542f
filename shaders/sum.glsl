// Sums in two parts, so that their length does not cost precision (Kahan, with Knuth's exact rest).
#ifndef SUM_GLSL
#define SUM_GLSL

void addTo(inout float sum, inout float lost, float value) {
    precise float term = value - lost;
    precise float next = sum + term;
    precise float taken = next - sum;
    precise float kept = next - taken;
    precise float rest = (sum - kept) + (term - taken);
    lost = -rest;
    sum = next;
}

#endif
