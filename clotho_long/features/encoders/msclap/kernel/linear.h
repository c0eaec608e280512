// Matrix products with weights that were laid out in panels once, as in Goto and van de Geijn (2008).
#pragma once

#include <algorithm>
#include <cstdint>

#include "vector.h"

// A tile of ROWS x PANEL sums stays in registers: 4 x 3 of AVX2's 16, 8 x 3 of AVX-512's and NEON's 32.
// Every width of HTS-AT is a multiple of 48 and every count of tokens one of 64, so no tile is partial.
constexpr int PANEL_VECTORS = 3;
constexpr int PANEL = PANEL_VECTORS * LANES;
#if LANES == 8 || (LANES == 4 && defined(__SSE__))
constexpr int ROWS = 4;
#else
constexpr int ROWS = 8;
#endif
// Inputs taken at a time: a panel's part (AVX2: 18 KB) stays in the first-level cache.
constexpr int DEPTH = 192;

// y = x W^T + b; `weight` is [outputs / PANEL][inputs][PANEL], `bias` [outputs] or null.
struct Linear {
    const float* weight;
    const float* bias;
    int32_t inputs;
    int32_t outputs;
};

enum class After { nothing, gelu, add };  // what happens to y: kept, through GELU, or added to what is there

struct TileJob {
    const float* x;
    const float* weight;
    const float* bias;  // null: none, or added before
    float* y;
    int x_stride, y_stride, depth;
    bool add;
};

// Never inlined: the sums need all registers, and inlined beside other work they would be spilled.
static __attribute__((noinline)) void tile(const TileJob& job) {
    vec sums[ROWS][PANEL_VECTORS] = {};
    const float* weight = job.weight;
    for (int k = 0; k < job.depth; k++, weight += PANEL) {
        vec columns[PANEL_VECTORS];
#pragma GCC unroll 3
        for (int j = 0; j < PANEL_VECTORS; j++) columns[j] = load(weight + j * LANES);
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; row++) {
            const float value = job.x[row * job.x_stride + k];
#pragma GCC unroll 3
            for (int j = 0; j < PANEL_VECTORS; j++) sums[row][j] += value * columns[j];
        }
    }
#pragma GCC unroll 8
    for (int row = 0; row < ROWS; row++) {
#pragma GCC unroll 3
        for (int j = 0; j < PANEL_VECTORS; j++) {
            float* to = job.y + row * job.y_stride + j * LANES;
            vec value = sums[row][j];
            if (job.bias) value += load(job.bias + j * LANES);
            if (job.add) value += load(to);
            store(to, value);
        }
    }
}

static __attribute__((noinline)) void gelu_tile(float* y, int y_stride) {
    for (int row = 0; row < ROWS; row++)
        for (int j = 0; j < PANEL; j += LANES) store(y + row * y_stride + j, gelu(load(y + row * y_stride + j)));
}

// x: [rows, inputs], y: [rows, outputs], both dense; rows is a multiple of ROWS. The sum behind each number of
// y is always taken in the same order, whatever the number of rows.
static inline void linear(const Linear& layer, const float* x, int rows, float* y, After after) {
    for (int k = 0; k < layer.inputs; k += DEPTH) {
        const int depth = std::min(DEPTH, layer.inputs - k);
        const bool first = k == 0, last = k + depth == layer.inputs;
        for (int column = 0; column < layer.outputs; column += PANEL) {
            const float* weight = layer.weight + int64_t(column) * layer.inputs + int64_t(k) * PANEL;
            const float* bias = first && layer.bias ? layer.bias + column : nullptr;
            for (int row = 0; row < rows; row += ROWS) {
                float* to = y + int64_t(row) * layer.outputs + column;
                tile({x + int64_t(row) * layer.inputs + k, weight, bias, to, layer.inputs, layer.outputs,
                      depth, !first || after == After::add});
                if (last && after == After::gelu) gelu_tile(to, layer.outputs);
            }
        }
    }
}
