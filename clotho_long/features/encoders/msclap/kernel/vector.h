// Vectors of floats as wide as the processor's registers, and the two functions that HTS-AT needs on them.
// GCC's and Clang's vector extensions: the same source serves AVX2, AVX-512 and NEON.
#pragma once

#include <cstdint>

#ifndef LANES
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float unaligned_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t int_vec __attribute__((vector_size(4 * LANES)));

static inline vec load(const float* from) { return *reinterpret_cast<const unaligned_vec*>(from); }

static inline void store(float* to, vec value) { *reinterpret_cast<unaligned_vec*>(to) = value; }

static inline vec larger(vec a, vec b) { return a > b ? a : b; }

// Lanes are always combined in the same order, so equal input gives equal bits.
static inline float sum_of_lanes(vec v) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++) v[lane] += v[lane + half];
    return v[0];
}

static inline float max_of_lanes(vec v) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++) v[lane] = v[lane] > v[lane + half] ? v[lane] : v[lane + half];
    return v[0];
}

// exp(x) for x <= 0: 2^n exp(r) with |r| <= ln(2) / 2 and the Taylor series of exp(r), to the last bit or two.
static inline vec exp_of_negative(vec x) {
    const float to_integer = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    x = larger(x, vec{} - 87.0f);          // below, 2^n is no normal number; exp(-87) is nothing beside 1
    const vec shifted = x * 1.44269504f + to_integer;
    const vec n = shifted - to_integer;
    const vec r = x - n * 0.693145752f - n * 1.42860677e-6f;
    // in pairs: the steps of one long chain would wait for each other
    const vec r2 = r * r;
    const vec high = (r * (1.0f / 5040) + 1.0f / 720) * r2 + (r * (1.0f / 120) + 1.0f / 24);
    const vec low = (r * (1.0f / 6) + 0.5f) * r2 + (r + 1.0f);
    const vec series = high * (r2 * r2) + low;
    return (vec)((int_vec)series + ((int_vec)shifted << 23));
}

// x times the normal distribution function, with erfc after Abramowitz and Stegun 7.1.26 (error < 1.5e-7).
static inline vec gelu(vec x) {
    const vec z = (x < 0.0f ? -x : x) * 0.707106781f;
    const vec t = 1.0f / (1.0f + 0.3275911f * z);
    const vec high = t * (t * 1.061405429f - 1.453152027f) + 1.421413741f;
    const vec series = t * t * high + (0.254829592f - 0.284496736f * t);
    const vec tail = 0.5f * x * (series * t * exp_of_negative(-(z * z)));  // x * erfc(z) / 2
    return x < 0.0f ? tail : x - tail;
}
