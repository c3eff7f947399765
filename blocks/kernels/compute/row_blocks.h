// What dense.cc and dense_gradient.cc share: rows of a group's inputs as the tiles of a product read them.
#pragma once

#include <algorithm>
#include <cstring>

#include "tile.h"

namespace blocks {

constexpr int64_t kMaxCopied = 1 << 15;  // entries of a block's input rows, or of one row's window

// Images are divided into blocks of a few rows of outputs.
struct RowBlocks {
  int row_depth, depth;  // entries of a row of the kernel, and of all of it, for one output
  bool apart;            // what each output reads of a row is copied by itself, with a zero behind it
  int64_t line;          // entries of a row of inputs with its padding
  int64_t row, step;     // entries of a copied row, and from what one output reads of it to what the next does
  int per_image, rows;   // blocks of an image, and output rows of a block
  int64_t count;

  RowBlocks(const Spatial& s, int threads, bool apart_ = false)
      : row_depth(s.kernel_width * s.in_channels_per_group),
        depth(s.kernel_height * row_depth),
        apart(apart_),
        line(int64_t((s.out_width - 1) * s.stride_width + s.kernel_width) * s.in_channels_per_group),
        row(apart ? int64_t(s.out_width) * (row_depth + 1) : line),
        step(apart ? row_depth + 1 : int64_t(s.stride_width) * s.in_channels_per_group) {
    const int64_t fit = (kMaxCopied / std::max<int64_t>(row, 1) - s.kernel_height) / s.stride_height + 1;
    const int64_t share = std::max<int64_t>(1, s.batch * s.out_height / (threads * 4));
    rows = int(std::max<int64_t>(1, std::min({fit, share, int64_t(s.out_height)})));
    per_image = (s.out_height + rows - 1) / rows;
    count = s.batch * per_image;
  }
};

// Entries of one type as those of another.
template <class From, class To>
void copy(const From* from, int64_t count, To* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
  if (i < count) store_tail(to + i, load_tail(from + i, int(count - i)), int(count - i));
}

// One block, its input rows of one group copied into the calling thread's memory, with the padding's zeros.
template <class F>
struct RowBlock {
  const Spatial& s;
  const RowBlocks& blocks;
  int64_t image;
  int top, bottom;  // rows of outputs
  int first_row, end_row;  // rows of inputs that they read
  F* copied;

  static int64_t entries(const Spatial& s, const RowBlocks& blocks) {
    return ((blocks.rows - 1) * int64_t(s.stride_height) + s.kernel_height) * blocks.row + (blocks.apart ? kLanes : 0);
  }

  template <class T>
  RowBlock(const Spatial& s_, const RowBlocks& blocks_, const T* x, int64_t number, int group, F* to)
      : s(s_),
        blocks(blocks_),
        image(number / blocks_.per_image),
        top(int(number % blocks_.per_image) * blocks_.rows),
        copied(to) {
    bottom = std::min(top + blocks.rows, s.out_height);
    first_row = std::min(s.height, std::max(0, top * s.stride_height - s.pad_top));
    end_row = std::max(first_row, std::min(s.height, (bottom - 1) * s.stride_height - s.pad_top + s.kernel_height));
    const int channels = s.in_channels_per_group, columns = int(blocks.line / channels);
    // Negative padding leaves out the first columns of the images.
    const int before = std::min(columns, std::max(0, s.pad_left)),
              skipped = std::min(s.width, std::max(0, -s.pad_left));
    const int inner = std::min(columns - before, s.width - skipped), after = columns - before - inner;
    F* const separate = blocks.apart ? factors_scratch<F>(1, blocks.line + kLanes) : nullptr;
    for (int y = first_row; y < end_row; ++y, to += blocks.row) {
      F* const line = separate ? separate : to;
      const T* from =
          x + ((image * s.height + y) * s.width + skipped) * s.groups * channels + int64_t(group) * channels;
      std::memset(line, 0, sizeof(F) * before * channels);
      copy_pixels(from, inner, line + int64_t(before) * channels);
      std::memset(line + int64_t(before + inner) * channels, 0, sizeof(F) * after * channels);
      if (separate) copy_apart(line, to);
    }
  }

  // What output row y reads with row ky of the kernel; null where that is padding.
  const F* input_row(int y, int ky) const {
    const int row = y * s.stride_height + ky - s.pad_top;
    return row < first_row || row >= end_row ? nullptr : copied + (row - first_row) * blocks.row;
  }

 private:
  // In whole vectors: what is written behind an output's entries is overwritten by the next one's.
  void copy_apart(const F* from, F* to) const {
    const int64_t stride = int64_t(s.stride_width) * s.in_channels_per_group;
    for (int i = 0; i < s.out_width; ++i, from += stride, to += blocks.step) {
      for (int k = 0; k < blocks.row_depth; k += kLanes) std::memcpy(to + k, from + k, sizeof(F) * kLanes);
      to[blocks.row_depth] = F{};
    }
  }

  template <class T>
  void copy_pixels(const T* from, int count, F* to) const {
    const int channels = s.in_channels_per_group;
    if (s.groups == 1) return copy(from, int64_t(count) * channels, to);
    if (channels < kLanes) {
      for (int i = 0; i < count; ++i, from += int64_t(s.groups) * channels, to += channels) copy(from, channels, to);
      return;
    }
    for (int i = 0; i < count; ++i, from += int64_t(s.groups) * channels, to += channels)
      for (int v = 0; v < num_vectors(channels); ++v) {
        const int offset = vector_offset(v, channels);
        store(to + offset, load(from + offset));
      }
  }
};

}  // namespace blocks
