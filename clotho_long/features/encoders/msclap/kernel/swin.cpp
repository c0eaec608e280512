// HTS-AT from patches to embedding on processors: the same arithmetic as `msclap/audio.py`, fused so that a
// few hundred tokens at a time go through a whole block while they are in the cache.
//
// Plain C interface, called through ctypes. One thread works on one picture, and every sum is taken in a fixed
// order: the numbers depend neither on the number of threads nor on the other pictures of a call.

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "attention.h"
#include "linear.h"
#include "vector.h"

namespace {

constexpr int STAGES = 4;
constexpr int DEPTHS[STAGES] = {2, 2, 6, 2};
constexpr int FIRST_TOKENS = 64 * 64, FIRST_WIDTH = 96, LAST_WIDTH = 768;
constexpr int PATCH = 16;
constexpr int GROUP = 256;  // tokens that go through a block together
constexpr float EPSILON = 1e-5f;

struct Block {
    const int32_t* order;  // where each token was in the order of the block before; null: where it is
    const int32_t* kinds;  // [window] which bias a window takes
    const float* bias;     // [kind, head, 64, 64] position bias, and mask if the windows are shifted
    Linear qkv, out, widen, narrow;
    int32_t heads;
};

struct Merge {
    const int32_t* order;  // four parts for each token of the next stage
    Linear reduction;
};

}  // namespace

struct Tower {
    Linear patches;
    const float *patch_scale, *patch_shift;
    const Block* blocks;  // of all stages, one after the other
    const Merge* merges;
    const float *scale, *shift;
};

namespace {

// Two pictures' worth of tokens, and what a group of tokens needs on its way through a block.
struct Workspace {
    std::vector<float> tokens = std::vector<float>(FIRST_TOKENS * FIRST_WIDTH);
    std::vector<float> others = std::vector<float>(FIRST_TOKENS * FIRST_WIDTH);
    std::vector<float> normal = std::vector<float>(GROUP * 4 * LAST_WIDTH / 2);
    std::vector<float> wide = std::vector<float>(GROUP * 4 * LAST_WIDTH / 2);
};

void normalise(const float* x, int width, float* y) {
    vec sums[2] = {}, squares[2] = {};
    for (int i = 0; i < width; i += 2 * LANES)
        for (int j = 0; j < 2; j++) sums[j] += load(x + i + j * LANES);
    const float mean = sum_of_lanes(sums[0] + sums[1]) / width;
    for (int i = 0; i < width; i += 2 * LANES)
        for (int j = 0; j < 2; j++) {
            const vec centred = load(x + i + j * LANES) - mean;
            squares[j] += centred * centred;
        }
    const float scale = 1.0f / std::sqrt(sum_of_lanes(squares[0] + squares[1]) / width + EPSILON);
    for (int i = 0; i < width; i += LANES) store(y + i, (load(x + i) - mean) * scale);
}

void embed_patches(const Tower& tower, const float* patches, float* tokens) {
    for (int start = 0; start < FIRST_TOKENS; start += GROUP) {
        float* group = tokens + start * FIRST_WIDTH;
        linear(tower.patches, patches + start * PATCH, GROUP, group, After::nothing);
        for (int token = 0; token < GROUP; token++) {
            float* row = group + token * FIRST_WIDTH;
            normalise(row, FIRST_WIDTH, row);
            for (int i = 0; i < FIRST_WIDTH; i += LANES)
                store(row + i, load(row + i) * load(tower.patch_scale + i) + load(tower.patch_shift + i));
        }
    }
}

// from and to: [tokens, width], not the same.
void run_block(const Block& block, const float* from, float* to, int tokens, Workspace& space) {
    const int width = block.heads * HEAD, rows = std::min(GROUP, tokens);
    float *normal = space.normal.data(), *wide = space.wide.data();
    for (int start = 0; start < tokens; start += rows) {
        float* group = to + start * width;
        for (int token = 0; token < rows; token++) {
            const int source = block.order ? block.order[start + token] : start + token;
            std::memcpy(group + token * width, from + source * width, width * sizeof(float));
            normalise(group + token * width, width, normal + token * width);
        }
        linear(block.qkv, normal, rows, wide, After::nothing);
        for (int token = 0; token < rows; token += TOKENS) {
            const int kind = block.kinds[(start + token) / TOKENS];
            const float* bias = block.bias + int64_t(kind) * block.heads * TOKENS * TOKENS;
            attention(wide + token * 3 * width, block.heads, bias, normal + token * width);
        }
        linear(block.out, normal, rows, group, After::add);
        for (int token = 0; token < rows; token++)
            normalise(group + token * width, width, normal + token * width);
        linear(block.widen, normal, rows, wide, After::gelu);
        linear(block.narrow, wide, rows, group, After::add);
    }
}

// from: [tokens, width] -> to: [tokens / 4, 2 * width].
void merge(const Merge& merge, const float* from, float* to, int tokens, int width, Workspace& space) {
    float *normal = space.normal.data(), *wide = space.wide.data();
    const int merged = tokens / 4, rows = std::min(GROUP, merged);
    for (int start = 0; start < merged; start += rows) {
        for (int token = 0; token < rows; token++) {
            float* row = wide + token * 4 * width;
            for (int part = 0; part < 4; part++)
                std::memcpy(row + part * width, from + merge.order[4 * (start + token) + part] * width,
                            width * sizeof(float));
            normalise(row, 4 * width, normal + token * 4 * width);
        }
        linear(merge.reduction, normal, rows, to + start * 2 * width, After::nothing);
    }
}

void embed(const Tower& tower, const float* patches, float* embedding, Workspace& space) {
    float *tokens = space.tokens.data(), *others = space.others.data();
    embed_patches(tower, patches, tokens);
    const Block* block = tower.blocks;
    int count = FIRST_TOKENS, width = FIRST_WIDTH;
    for (int stage = 0; stage < STAGES; stage++) {
        for (int i = 0; i < DEPTHS[stage]; i++, block++) {
            run_block(*block, tokens, others, count, space);
            std::swap(tokens, others);
        }
        if (stage < STAGES - 1) {
            merge(tower.merges[stage], tokens, others, count, width, space);
            std::swap(tokens, others);
            count /= 4;
            width *= 2;
        }
    }
    for (int i = 0; i < width; i += LANES) store(embedding + i, vec{});
    for (int token = 0; token < count; token++) {
        normalise(tokens + token * width, width, space.normal.data());
        for (int i = 0; i < width; i += LANES)
            store(embedding + i, load(embedding + i) + load(space.normal.data() + i));
    }
    for (int i = 0; i < width; i += LANES) {
        const vec mean = load(embedding + i) * (1.0f / count);
        store(embedding + i, mean * load(tower.scale + i) + load(tower.shift + i));
    }
}

}  // namespace

extern "C" {

// Columns of a weight panel; the caller lays weights out as [outputs / panel][inputs][panel].
int32_t clotho_long_swin_panel() { return PANEL; }

// patches: [pictures, 4096, 16] -> embeddings: [pictures, 768]. Returns 0, or 1 if memory ran out.
int32_t clotho_long_swin_embed(const Tower* tower, const float* patches, int32_t pictures, int32_t threads,
                               float* embeddings) {
    threads = std::max(1, std::min(threads, pictures));
    std::unique_ptr<Workspace[]> spaces;
    try {
        spaces = std::make_unique<Workspace[]>(threads);
    } catch (const std::bad_alloc&) {
        return 1;
    }
    std::atomic<int32_t> next{0};
    const auto work = [&](Workspace* space) {
        for (int32_t i; (i = next++) < pictures;)
            embed(*tower, patches + int64_t(i) * FIRST_TOKENS * PATCH, embeddings + int64_t(i) * LAST_WIDTH, *space);
    };
    std::vector<std::thread> helpers;
    try {
        for (int32_t i = 1; i < threads; i++) helpers.emplace_back(work, &spaces[i]);
    } catch (const std::system_error&) {
        // no more threads to be had: those that run do the work
    }
    work(&spaces[0]);
    for (auto& helper : helpers) helper.join();
    return 0;
}
}
