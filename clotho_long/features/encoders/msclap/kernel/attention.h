// Attention inside one window of 64 tokens, heads of 24 numbers.
#pragma once

#include <cstring>

#include "vector.h"

constexpr int TOKENS = 64;
constexpr int HEAD = 24;
constexpr int HEAD_VECTORS = (HEAD + LANES - 1) / LANES;
constexpr int HEAD_PADDED = HEAD_VECTORS * LANES;
constexpr int QUERIES = 4;       // done together
constexpr int SCORE_VECTORS = 2;  // keys done together, in vectors

// scores[QUERIES][TOKENS] = queries keys^T + bias; keys transposed to [HEAD][TOKENS].
static inline void score(const float* queries, int stride, const float* keys, const float* bias,
                         float (*scores)[TOKENS]) {
    for (int column = 0; column < TOKENS; column += SCORE_VECTORS * LANES) {
        vec sums[QUERIES][SCORE_VECTORS];
#pragma GCC unroll 4
        for (int q = 0; q < QUERIES; q++)
#pragma GCC unroll 2
            for (int j = 0; j < SCORE_VECTORS; j++) sums[q][j] = load(bias + q * TOKENS + column + j * LANES);
        for (int d = 0; d < HEAD; d++) {
            const float* key = keys + d * TOKENS + column;
#pragma GCC unroll 4
            for (int q = 0; q < QUERIES; q++)
#pragma GCC unroll 2
                for (int j = 0; j < SCORE_VECTORS; j++)
                    sums[q][j] += queries[q * stride + d] * load(key + j * LANES);
        }
#pragma GCC unroll 4
        for (int q = 0; q < QUERIES; q++)
#pragma GCC unroll 2
            for (int j = 0; j < SCORE_VECTORS; j++) store(scores[q] + column + j * LANES, sums[q][j]);
    }
}

// Replaces scores by exp(score - largest) and returns the sum; the division is left to the mixed values.
static inline float exponentials(float* scores) {
    vec best = load(scores);
    for (int column = LANES; column < TOKENS; column += LANES) best = larger(best, load(scores + column));
    const float largest = max_of_lanes(best);
    vec sum = {};
    for (int column = 0; column < TOKENS; column += LANES) {
        const vec value = exp_of_negative(load(scores + column) - largest);
        store(scores + column, value);
        sum += value;
    }
    return sum_of_lanes(sum);
}

static inline void mix(const float (*shares)[TOKENS], const float* totals, const float* values, float* out,
                       int stride) {
    vec sums[QUERIES][HEAD_VECTORS] = {};
    for (int token = 0; token < TOKENS; token++) {
#pragma GCC unroll 4
        for (int q = 0; q < QUERIES; q++)
#pragma GCC unroll 6
            for (int j = 0; j < HEAD_VECTORS; j++)
                sums[q][j] += shares[q][token] * load(values + token * HEAD_PADDED + j * LANES);
    }
    for (int q = 0; q < QUERIES; q++) {
        float row[HEAD_PADDED];
        for (int j = 0; j < HEAD_VECTORS; j++) store(row + j * LANES, sums[q][j] * (1.0f / totals[q]));
        std::memcpy(out + q * stride, row, HEAD * sizeof(float));
    }
}

// qkv: [64, 3 * width], the queries already scaled; bias: [head, 64, 64]; out: [64, width].
static inline void attention(const float* qkv, int heads, const float* bias, float* out) {
    const int width = heads * HEAD, stride = 3 * width;
    float keys[HEAD * TOKENS], values[TOKENS * HEAD_PADDED] = {};
    for (int head = 0; head < heads; head++, bias += TOKENS * TOKENS) {
        const float* queries = qkv + head * HEAD;
        for (int token = 0; token < TOKENS; token++) {
            const float* key = queries + token * stride + width;
            for (int d = 0; d < HEAD; d++) keys[d * TOKENS + token] = key[d];
            std::memcpy(values + token * HEAD_PADDED, key + width, HEAD * sizeof(float));
        }
        for (int query = 0; query < TOKENS; query += QUERIES) {
            float scores[QUERIES][TOKENS], totals[QUERIES];
            score(queries + query * stride, stride, keys, bias + query * TOKENS, scores);
            for (int q = 0; q < QUERIES; q++) totals[q] = exponentials(scores[q]);
            mix(scores, totals, values, out + query * width + head * HEAD, width);
        }
    }
}
