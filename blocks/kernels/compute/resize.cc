// Pictures resized as Pillow does it: with antialiasing, first every row, then every column, in whole numbers.
#include <cstring>
#include <vector>

#include "kernels.h"

namespace blocks {
namespace {

constexpr int kBits = 22;   // of Pillow's weights
constexpr int kRows = 4;    // that are resized together: they have their weights in common
constexpr int kChunk = 64;  // bytes of a row whose sums lie in registers

typedef __int128 Wide;
typedef int32_t Lanes __attribute__((vector_size(16)));
typedef uint32_t Levels;  // four of them, the first in the low bits

// The pixels [first, first + count) that each kept pixel of a line is made of, and their weights in units of 2**-22.
struct Windows {
  int taps = 0;  // of the widest
  std::vector<int> first, count;
  std::vector<int32_t> weights;  // (kept pixels, taps)
};

int64_t floor_of(int64_t a, int64_t b) { return a / b - (a % b != 0 && a < 0); }

// Of a distance in units of which `one` are where the linear filter ends; Keys' function times 2 * one**3.
template <class Integer>
Integer filter_at(Filter filter, Integer distance, Integer one) {
  if (filter == Filter::kBilinear) return std::max(one - distance, Integer(0));
  const Integer beyond = std::max(2 * one - distance, Integer(0));
  const Integer near = (2 * one - 3 * distance) * distance + 2 * one * one;
  return (one - distance) * (distance < one ? near : beyond * beyond);
}

// weight / total in units of 2**-22, rounded to the nearest. The quotient of doubles is one unit off at most, which the
// remainder shows.
int32_t share(Wide weight, Wide total) {
  auto units = int64_t(double(weight) / double(total) * (1 << kBits));
  Wide rest = weight * (1 << kBits) - units * total;
  for (; 2 * rest >= total; rest -= total) ++units;
  for (; 2 * rest < -total; rest += total) --units;
  return int32_t(units);
}

template <class Integer>
Windows windows_in(const Resampling& r, Filter filter) {
  // Counted from the line's middle in half pixels times `after`, so that all places are whole numbers.
  const int64_t before = r.before, after = r.after, one = 2 * std::max(before, after);
  const int64_t reach = filter == Filter::kBicubic ? 2 * one : one;
  Windows windows;
  windows.first.resize(r.count), windows.count.resize(r.count);
  for (int i = 0; i < r.count; ++i) {
    const int64_t centre = (2 * (int64_t(r.first) + i) + 1 - after) * before;
    const int64_t first = floor_of(floor_of(centre - reach, after) + before - 1, 2);
    const int64_t last = floor_of(floor_of(centre + reach, after) + before - 1, 2) + 1;
    windows.first[i] = int(std::max(first, int64_t(0)));
    windows.count[i] = int(std::min(last, before - 1)) + 1 - windows.first[i];
    windows.taps = std::max(windows.taps, windows.count[i]);
  }
  windows.weights.resize(int64_t(r.count) * windows.taps);
  std::vector<Integer> values(windows.taps);
  for (int i = 0; i < r.count; ++i) {
    const int64_t centre = (2 * (int64_t(r.first) + i) + 1 - after) * before;
    Integer total = 0;
    for (int k = 0; k < windows.count[i]; ++k) {
      const int64_t place = (2 * int64_t(windows.first[i] + k) + 1 - before) * after;
      total += values[k] = filter_at<Integer>(filter, std::abs(place - centre), one);
    }
    int32_t* weights = windows.weights.data() + int64_t(i) * windows.taps;
    for (int k = 0; k < windows.count[i] && total; ++k) weights[k] = share(values[k], total);
    // Those that are 0 cost as much as others.
    while (windows.count[i] > 1 && !weights[windows.count[i] - 1]) --windows.count[i];
    int zeros = 0;
    while (zeros < windows.count[i] - 1 && !weights[zeros]) ++zeros;
    std::memmove(weights, weights + zeros, sizeof(int32_t) * (windows.count[i] -= zeros));
    windows.first[i] += zeros;
  }
  return windows;
}

Windows windows_of(const Resampling& r, Filter filter) {
  const double one = 2.0 * std::max(r.before, r.after), taps = 4.0 * r.before / r.after + 4;
  const bool is_narrow = filter == Filter::kBilinear || 2 * one * one * one * taps < 0x1p62;  // the sum of a window
  return is_narrow ? windows_in<int64_t>(r, filter) : windows_in<Wide>(r, filter);
}

uint8_t level(int32_t sum) { return uint8_t(std::min(std::max(sum >> kBits, 0), 255)); }

// Rows of three channels: a pixel's levels, and one of the next pixel's, which is not used, are one vector. There is a
// byte to read behind each row.
void resize_colour_rows(const uint8_t* const* rows, const Windows& windows, uint8_t* const* resized) {
  const int count = int(windows.first.size());
  for (int i = 0; i < count; ++i) {
    const int32_t* weights = windows.weights.data() + int64_t(i) * windows.taps;
    Lanes sums[kRows];
    for (Lanes& sum : sums) sum = Lanes{} + (1 << (kBits - 1));
    for (int k = 0; k < windows.count[i]; ++k)
      for (int row = 0; row < kRows; ++row) {
        Levels levels;
        std::memcpy(&levels, rows[row] + 3 * int64_t(windows.first[i] + k), sizeof levels);
        sums[row] += (((Lanes{} + int32_t(levels)) >> Lanes{0, 8, 16, 24}) & 255) * weights[k];
      }
    for (int row = 0; row < kRows; ++row) {
      Lanes levels = sums[row] >> kBits;
      levels = levels < 0 ? Lanes{} : levels;
      levels = levels > 255 ? Lanes{} + 255 : levels;
      for (int channel = 0; channel < 3; ++channel) resized[row][3 * i + channel] = uint8_t(levels[channel]);
    }
  }
}

void resize_any_row(const uint8_t* row, int channels, const Windows& windows, uint8_t* resized) {
  const int count = int(windows.first.size());
  for (int i = 0; i < count; ++i) {
    const int32_t* weights = windows.weights.data() + int64_t(i) * windows.taps;
    const uint8_t* levels = row + int64_t(windows.first[i]) * channels;
    for (int channel = 0; channel < channels; ++channel) {
      int32_t sum = 1 << (kBits - 1);
      for (int k = 0; k < windows.count[i]; ++k) sum += levels[int64_t(k) * channels + channel] * weights[k];
      *resized++ = level(sum);
    }
  }
}

// Row `i` of the result, of `bytes` levels, from rows that follow each other.
void resize_columns(const uint8_t* rows, int64_t bytes, const Windows& windows, int i, int first_row,
                    uint8_t* resized) {
  const int32_t* weights = windows.weights.data() + int64_t(i) * windows.taps;
  const uint8_t* from = rows + (windows.first[i] - first_row) * bytes;
  for (int64_t begin = 0; begin < bytes; begin += kChunk) {
    const int some = int(std::min(int64_t(kChunk), bytes - begin));
    int32_t sums[kChunk];
    std::fill(sums, sums + kChunk, 1 << (kBits - 1));
    for (int k = 0; k < windows.count[i]; ++k) {
      const uint8_t* levels = from + k * bytes + begin;
      const int32_t weight = weights[k];
      if (some == kChunk)
        for (int j = 0; j < kChunk; ++j) sums[j] += levels[j] * weight;
      else
        for (int j = 0; j < some; ++j) sums[j] += levels[j] * weight;
    }
    for (int j = 0; j < some; ++j) resized[begin + j] = level(sums[j]);
  }
}

}  // namespace

void resize(const uint8_t* image, int channels, const Resampling& rows, const Resampling& columns, Filter filter,
            uint8_t* resized) {
  const Windows across = windows_of(columns, filter), down = windows_of(rows, filter);
  const int first = down.first.front(), end = down.first.back() + down.count.back();
  const int64_t bytes = int64_t(columns.before) * channels, narrow = int64_t(columns.count) * channels;
  // The narrower rows, some more that nobody reads, and a copy of the image's last row, to read beyond.
  const int64_t size = (end - first + kRows) * narrow;
  auto* middle = reinterpret_cast<uint8_t*>(scratch(0, (size + bytes + sizeof(Levels)) / sizeof(float) + 1));
  uint8_t* last = middle + size;
  for (int row = first; row < end; row += channels == 3 ? kRows : 1) {
    const uint8_t* from[kRows];
    uint8_t* to[kRows];
    for (int i = 0; i < kRows; ++i) {
      const int wanted = std::min(row + i, end - 1);
      from[i] = image + wanted * bytes;
      if (wanted == rows.before - 1) from[i] = static_cast<uint8_t*>(std::memcpy(last, from[i], bytes));
      to[i] = middle + (row + i - first) * narrow;
    }
    if (channels == 3) resize_colour_rows(from, across, to);
    else resize_any_row(from[0], channels, across, to[0]);
  }
  for (int i = 0; i < rows.count; ++i) resize_columns(middle, narrow, down, i, first, resized + i * narrow);
}

}  // namespace blocks
