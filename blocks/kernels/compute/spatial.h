// What spatial.cc and spatial_gradient.cc share: which channels a vector holds, staging, and the order of the work.
#pragma once

#include <algorithm>
#include <vector>

#include "simd.h"

namespace blocks {

// Whether a vector spans several groups, or one channel each of several depthwise ones.
inline bool spans_groups(const Spatial& s) {
  return s.in_channels_per_group == s.out_channels_per_group && kLanes % s.in_channels_per_group == 0 &&
         s.in_channels_per_group <= 8 && s.groups * s.in_channels_per_group >= kLanes;
}

// Whether each group is a matrix product of its own: where bfloat16 is multiplied in pairs, if it has enough channels.
template <class T>
bool groups_are_products(const Spatial& s) {
  return std::is_same_v<Factor<T>, bf16> && s.in_channels_per_group >= kLanes && s.out_channels_per_group >= kLanes;
}

// A group's channels are taken a vector at a time; the last vector overlaps the one before it, or is not full.
inline int offset_in_group(int vector, int channels) {
  return channels <= kLanes ? 0 : vector_offset(vector, channels);
}

// A ring of rows of images as floats, for some blocks of channels, with the padding's zeros written out. Row r is at
// r modulo `rows`, and a row of zeros behind them. Of each block `depth` channels are staged: a group's, or, if
// multi_group, the kLanes of a vector. A pixel has whole vectors of them.
struct Staged {
  bool multi_group;
  int depth, pixel;      // channels, and floats, of a pixel
  int before, columns;   // zero pixels in front of a row, and all its pixels
  int rows, blocks;
  int64_t row_size, block_size;
  float* start;

  Staged(int slot, bool multi_group_, int group_depth, int before_, int columns_, int rows_, int max_blocks,
         int64_t max_floats)
      : multi_group(multi_group_),
        depth(multi_group ? kLanes : group_depth),
        pixel(num_vectors(depth) * kLanes),
        before(before_),
        columns(columns_),
        rows(rows_) {
    row_size = int64_t(columns) * pixel + kLanes;
    block_size = (rows + 1) * row_size;
    blocks = int(std::max<int64_t>(1, std::min<int64_t>(max_blocks, max_floats / block_size)));
    start = scratch(slot, blocks * block_size);
    std::memset(start, 0, sizeof(float) * blocks * block_size);
  }

  const float* block(int number) const { return start + number * block_size; }  // counted from the first one staged
  int row_offset(int number) const { return int(number % rows * row_size); }    // from the block's start
  int zeros_offset() const { return int(rows * row_size); }

  // The first one of a block, in images of so many.
  int channel(int block, int channels) const { return multi_group ? vector_offset(block, channels) : block * depth; }

  // Stages row `number`, at `from`, for `count` blocks from the `first` on.
  template <class T>
  void fill(const T* from, int number, int width, int channels, int first, int count) {
    const int pixels = std::min(width, columns - before);  // the rest is not needed
    if (pixels <= 0) return;
    float* to = start + number % rows * row_size + before * pixel;
    for (int i = 0; i < count; ++i, to += block_size) {
      const T* block = from + channel(first + i, channels);
      for (int c = 0; c < depth; c += kLanes) {
        const int lanes = std::min(kLanes, depth - c);
        if (lanes == kLanes)
#pragma GCC unroll 4
          for (int x = 0; x < pixels; ++x) store(to + c + x * pixel, load(block + c + int64_t(x) * channels));
        else
          for (int x = 0; x < pixels; ++x)
            store_tail(to + c + x * pixel, load_tail(block + c + int64_t(x) * channels, lanes), lanes);
      }
    }
  }
};

// A task's work in the order in which it is done: rows [top, bottom) of an image, for some blocks of channels.
struct Step {
  int64_t image;
  int block, blocks;
  int top, bottom;
  bool first_of_image;  // no row of this image and these blocks was staged before
};

// For rows [begin, end) of all images and blocks [first, last), `span` rows and `max_blocks` blocks at a time.
inline std::vector<Step> steps_of(int64_t begin, int64_t end, int height, int span, int first, int last,
                                  int max_blocks) {
  std::vector<Step> steps;
  for (int64_t row = begin; row < end;) {
    const int64_t image = row / height;
    const int from = int(row % height), to = int(std::min<int64_t>(height, from + end - row));
    for (int block = first; block < last; block += max_blocks)
      for (int top = from; top < to; top += span)
        steps.push_back({image, block, std::min(max_blocks, last - block), top, std::min(top + span, to), top == from});
    row += to - from;
  }
  return steps;
}

}  // namespace blocks
