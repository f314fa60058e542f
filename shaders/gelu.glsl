// GELU in f32.
#ifndef GELU_GLSL
#define GELU_GLSL

// exp(-(high + low)) for 0 <= high < 87 and a low far smaller: exp() itself may lose a digit for every 10 of
// its argument.
float expOfMinus(float high, float low) {
    float k = round(high * 1.44269504);
    // ln 2 in two parts; the first has so few bits that the product is exact.
    float r = (high - k * 0.693115234) - k * 3.19461833e-5 + low;
    float e = 0.00139269268;
    e = e * r - 0.00836377427;
    e = e * r + 0.0416665487;
    e = e * r - 0.166665733;
    e = e * r + 0.5;
    e = e * r - 1.0;
    e = e * r + 1.0;
    return e * uintBitsToFloat(uint(127 - int(k)) << 23u);
}

// y times the normal distribution's Phi(y), from its tail Phi(-|y|) = exp(-y^2 / 2) t P(t) with
// t = 1 / (1 + 11/32 |y|), so that small results have all their digits; P is a minimax fit, good to 2^-25.
float gelu(float y) {
    float z = abs(y);
    if (!(z < 13.0)) return y * (y < 0.0 ? 0.0 : 1.0);  // the tail is less than any normal number
    float head = uintBitsToFloat(floatBitsToUint(z) & ~0xFFFu);  // its square is exact
    float t = 1.0 / (1.0 + 0.34375 * z);
    float tail = -0.0282436572;
    tail = tail * t + 0.145844832;
    tail = tail * t - 0.275596172;
    tail = tail * t + 0.195084423;
    tail = tail * t - 0.0419913530;
    tail = tail * t + 0.113719970;
    tail = tail * t + 0.116489373;
    tail = tail * t + 0.137574628;
    tail = tail * t + 0.137117937;
    tail *= t * expOfMinus(0.5 * head * head, 0.5 * (z - head) * (z + head));
    return y * (y < 0.0 ? tail : 1.0 - tail);
}

#endif
