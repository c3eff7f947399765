// Gradient of the filters of a spatial convolution in groups.
//
// For a vector of output channels, a row of the kernel and some input channels, the sums over all positions of a few
// rows stay in registers. Rows of both sides are staged as in spatial.cc.
#include <algorithm>
#include <vector>

#include "spatial.h"
#include "taps.h"
#include "window.h"

namespace blocks {
namespace {

constexpr int kPositions = 4;                      // that are summed at a time; gradients beyond a row are zeros
constexpr int kChannels = kLanes == 16 ? 8 : 4;    // input channels whose sums are in registers
constexpr int64_t kStagedFloats = 1 << 15;          // of each side, that are staged at a time, or one block's
constexpr int kMinColumns = 128;                   // of either side that outweigh moving the sums
constexpr int kMinPrefetched = 8;  // steps of kPositions, below which prefetching costs more than it saves

// Staged rows of both sides that meet in one row of the kernel: offsets in any block of channels.
struct RowPair {
  int x, dy;
};

// What is multiplied: of a block of each side, the pairs of rows.
struct Sides {
  const float *x, *dy;
  const std::vector<RowPair>* row_pairs;
  int x_pixel, dy_pixel;  // floats from one pixel to the next
  int columns, stride;    // of the gradients, and columns of x between neighbours
  int depth;              // input channels of a group
  Prefetcher* prefetcher;
};

// sums[c][t] += sum over pairs of rows and columns j of x[j * S + t][channel + c] * dy[j]
// `Pixel` is that of both sides where it is known beforehand, else 0.
template <int K, int S, int C, bool MultiGroup, int Pixel>
void add_rows(const Sides& sides, int channel, float* sums) {
  Vec acc[C][K];  // in registers, once every loop over it is unrolled
#pragma GCC unroll 32
  for (int i = 0; i < C * K; ++i) acc[i / K][i % K] = load(sums + i * kLanes);
  const Bits first = MultiGroup ? first_of_group(sides.depth) + channel : Bits{};
  const int64_t x_pixel = Pixel ? Pixel : sides.x_pixel, dy_pixel = Pixel ? Pixel : sides.dy_pixel;
  Prefetcher::Stream prefetch = sides.prefetcher->next_stream();
  for (const auto& pair : *sides.row_pairs) {
    const float *x = sides.x + pair.x + (MultiGroup ? 0 : channel), *dy = sides.dy + pair.dy;
    for (int j = 0; j < sides.columns; j += kPositions, x += kPositions * S * x_pixel, dy += kPositions * dy_pixel) {
      prefetch.issue();
      Vec gradients[kPositions];
#pragma GCC unroll 4
      for (int i = 0; i < kPositions; ++i) gradients[i] = load(dy + i * dy_pixel);
#pragma GCC unroll 16
      for (int p = 0; p < (kPositions - 1) * S + K; ++p) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          const Vec value = value_at<MultiGroup>(x + p * x_pixel, c, first + c);
#pragma GCC unroll 8
          for (int t = 0; t < K; ++t)
            if (p >= t && (p - t) % S == 0 && (p - t) / S < kPositions) acc[c][t] += value * gradients[(p - t) / S];
        }
      }
    }
  }
#pragma GCC unroll 32
  for (int i = 0; i < C * K; ++i) store(sums + i * kLanes, acc[i / K][i % K]);
}

// The same for any number of taps and any step, one channel.
template <bool MultiGroup>
void add_rows_any(const Sides& sides, int taps, int channel, float* sums) {
  const Bits index = MultiGroup ? first_of_group(sides.depth) + channel : Bits{};
  for (int t = 0; t < taps; ++t) {
    Vec sum = load(sums + t * kLanes);
    for (const auto& pair : *sides.row_pairs)
      for (int j = 0; j < sides.columns; ++j)
        sum += value_at<MultiGroup>(sides.x + pair.x + (j * sides.stride + t) * sides.x_pixel, channel, index) *
               load(sides.dy + pair.dy + j * sides.dy_pixel);
    store(sums + t * kLanes, sum);
  }
}

template <int K, int S, bool MultiGroup, int Pixel>
void add_channels_of(const Sides& sides, float* sums) {
  constexpr int kMaxChannels = K > 3 ? 4 : kChannels;
  for (int c = 0; c < sides.depth;) {
    float* channel_sums = sums + int64_t(c) * K * kLanes;
    const int left = sides.depth - c;
    if (left >= kMaxChannels)
      add_rows<K, S, kMaxChannels, MultiGroup, Pixel>(sides, c, channel_sums), c += kMaxChannels;
    else if (left >= 4) add_rows<K, S, 4, MultiGroup, Pixel>(sides, c, channel_sums), c += 4;
    else add_rows<K, S, 1, MultiGroup, Pixel>(sides, c, channel_sums), ++c;
  }
}

template <int K, int S, bool MultiGroup>
void add_channels(const Sides& sides, float* sums) {
  const int pixel = sides.x_pixel == sides.dy_pixel ? sides.x_pixel : 0;
  if (MultiGroup || pixel == kLanes) return add_channels_of<K, S, MultiGroup, kLanes>(sides, sums);
  if (pixel == 2 * kLanes) return add_channels_of<K, S, false, 2 * kLanes>(sides, sums);
  add_channels_of<K, S, false, 0>(sides, sums);
}

template <bool MultiGroup>
void add_channels(const Sides& sides, int taps, float* sums) {
  using Unrolled = TapsList<Taps<3, 1>, Taps<5, 1>, Taps<3, 2>, Taps<5, 2>>;
  with_taps(
      Unrolled(), taps, sides.stride,
      [&](auto known) { add_channels<decltype(known)::count, decltype(known)::stride, MultiGroup>(sides, sums); },
      [&] {
        for (int c = 0; c < sides.depth; ++c)
          add_rows_any<MultiGroup>(sides, taps, c, sums + int64_t(c) * taps * kLanes);
      });
}

// Where sums are: for each block of channels and each of its vectors [row of the kernel][channel][tap][kLanes].
struct SumsLayout {
  bool multi_group;
  int blocks, vectors_per_block;
  int64_t row, size;  // floats of a row of the kernel, and of a vector

  explicit SumsLayout(const Spatial& s)
      : multi_group(spans_groups(s)),
        blocks(multi_group ? num_vectors(s.groups * s.out_channels_per_group) : s.groups),
        vectors_per_block(multi_group ? 1 : num_vectors(s.out_channels_per_group)),
        row(int64_t(s.in_channels_per_group) * s.kernel_width * kLanes),
        size(row * s.kernel_height) {}
  int64_t block_size() const { return vectors_per_block * size; }
};

// One task: images [begin, end), for blocks [first, last), added to `sums`.
template <class T>
class ImagesTask {
 public:
  ImagesTask(const Spatial& s, const SumsLayout& layout, const T* x, const T* dy, float* sums, int64_t begin,
             int64_t end, int first, int last)
      : s_(s),
        layout_(layout),
        x_(x),
        dy_(dy),
        sums_(sums),
        columns_((s.out_width + kPositions - 1) / kPositions * kPositions),
        span_(std::min(s.out_height, (kMinColumns / s.stride_width + s.out_width - 1) / s.out_width)),
        inputs_(0, layout.multi_group, s.in_channels_per_group, s.pad_left,
                (columns_ - 1) * s.stride_width + s.kernel_width, span_ * s.stride_height + s.kernel_height,
                last - first, kStagedFloats),
        gradients_(1, layout.multi_group, s.out_channels_per_group, 0, columns_, span_, inputs_.blocks, kStagedFloats),
        steps_(steps_of(begin * s.out_height, end * s.out_height, s.out_height, span_, first, last, gradients_.blocks)),
        row_pairs_(s.kernel_height) {}

  void run() {
    for (size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      stage(step);
      pair_rows(step);
      schedule_prefetch(i + 1 < steps_.size() ? &steps_[i + 1] : nullptr);
      for (int block = 0; block < step.blocks; ++block) {
        const int next = next_block_ + block;
        prefetcher_.first = next_x_.shifted(inputs_.channel(next, x_channels()) * int64_t(sizeof(T)));
        prefetcher_.second = next_dy_.shifted(gradients_.channel(next, dy_channels()) * int64_t(sizeof(T)));
        add_block(inputs_.block(block), gradients_.block(block), sums_ + (step.block + block) * layout_.block_size());
      }
    }
  }

 private:
  int x_channels() const { return s_.groups * s_.in_channels_per_group; }
  int dy_channels() const { return s_.groups * s_.out_channels_per_group; }
  const T* x_row(int64_t image, int y) const { return x_ + (image * s_.height + y) * s_.width * x_channels(); }
  const T* dy_row(int64_t image, int y) const {
    return dy_ + (image * s_.out_height + y) * s_.out_width * dy_channels();
  }

  // The first row of x that a step reads and is not staged yet, and the one behind the last.
  std::pair<int, int> new_rows(const Step& step) const {
    const int first = std::max(0, step.top * s_.stride_height - s_.pad_top);
    const int end = std::min(s_.height, (step.bottom - 1) * s_.stride_height + s_.kernel_height - s_.pad_top);
    return {step.first_of_image ? first : std::max(end_of_staged_, first), end};
  }

  void stage(const Step& step) {
    const int width = std::max(
        0, std::min(s_.width, (s_.out_width - 1) * s_.stride_width + s_.kernel_width - s_.pad_left));  // that is read
    const auto [first, end] = new_rows(step);
    for (int y = first; y < end; ++y)
      inputs_.fill(x_row(step.image, y), y, width, x_channels(), step.block, step.blocks);
    end_of_staged_ = step.first_of_image ? end : std::max(end_of_staged_, end);
    for (int y = step.top; y < step.bottom; ++y)
      gradients_.fill(dy_row(step.image, y), y, s_.out_width, dy_channels(), step.block, step.blocks);
  }

  void pair_rows(const Step& step) {
    for (int ky = 0; ky < s_.kernel_height; ++ky) {
      row_pairs_[ky].clear();
      for (int y = step.top; y < step.bottom; ++y) {
        const int row = y * s_.stride_height + ky - s_.pad_top;
        if (row >= 0 && row < s_.height) row_pairs_[ky].push_back({inputs_.row_offset(row), gradients_.row_offset(y)});
      }
    }
  }

  // While a step is computed, what the next one reads is fetched.
  void schedule_prefetch(const Step* next) {
    next_x_ = next_dy_ = {};
    next_block_ = 0;
    if (!next) return;
    const auto [first, end] = new_rows(*next);
    next_block_ = next->block;
    next_x_ = PrefetchRange(x_row(next->image, first), std::max(0, end - first) * s_.width, x_channels() * sizeof(T));
    next_dy_ = PrefetchRange(dy_row(next->image, next->top), (next->bottom - next->top) * s_.out_width,
                             dy_channels() * sizeof(T));
    const int issues = span_ * columns_ / kPositions;
    const int streams =
        layout_.vectors_per_block * s_.kernel_height * ((s_.in_channels_per_group + kChannels - 1) / kChannels);
    if (issues >= kMinPrefetched) prefetcher_.schedule(next_x_.count + next_dy_.count, streams, issues);
  }

  void add_block(const float* x, const float* dy, float* sums) {
    for (int v = 0; v < layout_.vectors_per_block; ++v)
      for (int ky = 0; ky < s_.kernel_height; ++ky) {
        const int offset = layout_.multi_group ? 0 : offset_in_group(v, s_.out_channels_per_group);
        const Sides sides = {x,        dy + offset,     &row_pairs_[ky],          inputs_.pixel, gradients_.pixel,
                             columns_, s_.stride_width, s_.in_channels_per_group, &prefetcher_};
        const auto add = layout_.multi_group ? add_channels<true> : add_channels<false>;
        add(sides, s_.kernel_width, sums + v * layout_.size + ky * layout_.row);
      }
  }

  const Spatial& s_;
  const SumsLayout& layout_;
  const T *x_, *dy_;
  float* sums_;
  const int columns_, span_;
  Staged inputs_, gradients_;
  const std::vector<Step> steps_;
  std::vector<std::vector<RowPair>> row_pairs_;  // of each row of the kernel
  int end_of_staged_ = 0;  // rows of x before this one are staged, or not needed
  Prefetcher prefetcher_;
  PrefetchRange next_x_, next_dy_;  // in the first channel
  int next_block_ = 0;
};

// The sums of `parts`, `part_size` apart, as the gradients of blocks [first, last).
void write_filter_gradient(const Spatial& s, const SumsLayout& layout, const float* sums, int64_t parts,
                           int64_t part_size, int first, int last, float* d_kernel) {
  const int64_t channels = int64_t(s.groups) * s.out_channels_per_group;
  const int lanes = layout.multi_group ? kLanes : std::min(kLanes, s.out_channels_per_group);
  for (int block = first; block < last; ++block)
    for (int v = 0; v < layout.vectors_per_block; ++v) {
      const float* from = sums + block * layout.block_size() + v * layout.size;
      float* to = d_kernel + (layout.multi_group
                                  ? vector_offset(block, int(channels))
                                  : block * s.out_channels_per_group + offset_in_group(v, s.out_channels_per_group));
      for (int ky = 0; ky < s.kernel_height; ++ky)
        for (int c = 0; c < s.in_channels_per_group; ++c)
          for (int kx = 0; kx < s.kernel_width; ++kx, from += kLanes) {
            Vec sum = load(from);
            for (int64_t part = 1; part < parts; ++part) sum += load(from + part * part_size);
            store_tail(to + ((int64_t(ky) * s.kernel_width + kx) * s.in_channels_per_group + c) * channels, sum, lanes);
          }
    }
}

}  // namespace

template <class T>
void spatial_filter_gradient(const Spatial& s, const T* x, const T* dy, float* d_kernel, const Parallel& parallel) {
  if (groups_are_products<T>(s)) return dense_filter_gradient(s, x, dy, d_kernel, parallel);
  const SumsLayout layout(s);
  // Threads share the blocks; where these are too few, the images too, whose sums are added up afterwards.
  const int shares = std::min(layout.blocks, parallel.threads);
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(s.batch, parallel.threads / shares));
  const int64_t part_size = layout.blocks * layout.block_size();
  const auto first_block = [&](int64_t share) { return int(layout.blocks * share / shares); };
  float* sums = scratch(kShared, part_size * parts);
  parallel.run(shares * parts, [&](int64_t task) {
    const int64_t part = task / shares, share = task % shares;
    const int first = first_block(share), last = first_block(share + 1);
    float* part_sums = sums + part * part_size;
    std::memset(part_sums + first * layout.block_size(), 0, sizeof(float) * (last - first) * layout.block_size());
    const int64_t begin = s.batch * part / parts, end = s.batch * (part + 1) / parts;
    ImagesTask<T>(s, layout, x, dy, part_sums, begin, end, first, last).run();
  });
  parallel.run(shares, [&](int64_t share) {
    write_filter_gradient(s, layout, sums, parts, part_size, first_block(share), first_block(share + 1), d_kernel);
  });
}

#define BLOCKS_INSTANTIATE(T) \
  template void spatial_filter_gradient<T>(const Spatial&, const T*, const T*, float*, const Parallel&);
BLOCKS_INSTANTIATE(float)
BLOCKS_INSTANTIATE(bf16)
#undef BLOCKS_INSTANTIATE

}  // namespace blocks
