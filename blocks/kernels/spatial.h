// What spatial.cc and spatial_gradient.cc share: which channels a vector holds, staging, and writing outputs.
#pragma once

#include <algorithm>

#include "simd.h"

namespace blocks {

constexpr int64_t kStagedFloats = 1 << 15;  // that are staged at a time, or one block's

// Whether a vector spans several groups, or one channel each of several depthwise ones.
inline bool spreads(const Spatial& s) {
  return s.inputs == s.outputs && kLanes % s.inputs == 0 && s.inputs <= 8 && s.groups * s.inputs >= kLanes;
}

// A group's channels are taken a vector at a time; the last vector overlaps the one before it, or is not full.
inline int vectors_of_group(int channels) { return vectors(channels); }
inline int offset_in_group(int vector, int channels) { return channels <= kLanes ? 0 : offset_of(vector, channels); }

// Rows of images as floats, for some blocks of channels, with the padding's zeros written out. Row r lies in place
// r modulo `rows`. Of each block `pixel` channels are staged: a group's, or the kLanes of a vector.
struct Staged {
  int64_t pixel;
  int before, columns;   // zero pixels in front of a row, and all its pixels
  int rows, blocks;
  int64_t row_size, block_size;
  float *start, *zeros, *block;

  Staged(int slot, int64_t pixel_, int before_, int columns_, int rows_, int most_blocks)
      : pixel(pixel_), before(before_), columns(columns_), rows(rows_) {
    row_size = (columns * pixel + kLanes - 1) / kLanes * kLanes + kLanes;
    block_size = rows * row_size;
    blocks = int(std::max<int64_t>(1, std::min<int64_t>(most_blocks, kStagedFloats / block_size)));
    zeros = scratch(slot, row_size + blocks * block_size);
    start = block = zeros + row_size;
    std::memset(zeros, 0, sizeof(float) * (row_size + blocks * block_size));
  }

  // The block, counted from the first one staged, that is read from here on.
  void turn(int number) { block = start + number * block_size; }

  const float* row(int number) const { return block + number % rows * row_size; }

  // Stages row `number`, at `from`, for `count` blocks from the `first` on.
  template <bool Spread, class T>
  void fill(const T* from, int number, int width, int channels, int first, int count) {
    const int some = std::min(width, columns - before);  // the rest is not needed
    float* to = start + number % rows * row_size + before * pixel;
    for (int x = 0; x < some; ++x, from += channels, to += pixel)
      for (int i = 0; i < count; ++i) {
        float* at = to + i * block_size;
        if (Spread) {
          store(at, load(from + offset_of(first + i, channels)));
          continue;
        }
        const T* of = from + (first + i) * pixel;
        int c = 0;
        for (; c + kLanes <= pixel; c += kLanes) store(at + c, load(of + c));
        if (c < pixel) store_some(at + c, load_some(of + c, int(pixel) - c), int(pixel) - c);
      }
  }
};

// What is added to a sum, and how it is written.
template <class T>
struct Finish {
  const float* bias;
  const T* residual;
  Activation activation;
};

}  // namespace blocks
