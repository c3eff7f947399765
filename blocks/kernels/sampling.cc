// Every n-th row and column of images, channel shuffles, and their gradients.
#include <cstring>

#include "kernels.h"

namespace blocks {
namespace {

// Pixels [begin, end) of all parts, gathered into (or, Back, scattered from) interleaved channels. G > 0 fixes the
// number of groups for the compiler; each group lies within one part then.
template <class E, int G, bool Back>
void interleave(const Shuffle& s, const std::vector<char*>& parts, char* mixed, int64_t begin, int64_t end) {
  const int groups = G ? G : s.groups, each = s.channels / groups;
  std::vector<E> row(s.channels);
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    E* y = reinterpret_cast<E*>(mixed) + pixel * s.channels;
    if (G) {
      E* x[G ? G : 1];
      for (int j = 0, part = 0, first = 0; j < G; ++j) {
        while (j * each >= first + s.sizes[part]) first += s.sizes[part++];
        x[j] = reinterpret_cast<E*>(parts[part]) + pixel * s.sizes[part] + (j * each - first);
      }
      for (int i = 0; i < each; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < G; ++j) {
          if (Back) x[j][i] = y[i * G + j];
          else y[i * G + j] = x[j][i];
        }
      continue;
    }
    for (size_t part = 0, first = 0; part < parts.size() && !Back; first += s.sizes[part++])
      std::memcpy(row.data() + first, reinterpret_cast<E*>(parts[part]) + pixel * s.sizes[part], s.sizes[part] * sizeof(E));
    for (int j = 0; j < groups; ++j)
      for (int i = 0; i < each; ++i) {
        if (Back) row[j * each + i] = y[i * groups + j];
        else y[i * groups + j] = row[j * each + i];
      }
    for (size_t part = 0, first = 0; part < parts.size() && Back; first += s.sizes[part++])
      std::memcpy(reinterpret_cast<E*>(parts[part]) + pixel * s.sizes[part], row.data() + first, s.sizes[part] * sizeof(E));
  }
}

template <class E, bool Back>
void interleave_any(const Shuffle& s, const std::vector<char*>& parts, char* mixed, const Parallel& parallel) {
  const int each = s.channels / s.groups;
  bool whole = true;  // groups don't cross from one part to the next
  for (size_t part = 0, first = 0; part < parts.size(); first += s.sizes[part++]) whole = whole && first % each == 0;
  const auto run = !whole          ? interleave<E, 0, Back>
                   : s.groups == 2 ? interleave<E, 2, Back>
                   : s.groups == 3 ? interleave<E, 3, Back>
                   : s.groups == 4 ? interleave<E, 4, Back>
                   : s.groups == 8 ? interleave<E, 8, Back>
                                   : interleave<E, 0, Back>;
  const int64_t tasks = std::max<int64_t>(1, std::min<int64_t>(s.pixels * s.channels / 16384, parallel.threads * 4));
  parallel.run(tasks, [&](int64_t task) { run(s, parts, mixed, s.pixels * task / tasks, s.pixels * (task + 1) / tasks); });
}

}  // namespace

void shuffle(const Shuffle& s, const std::vector<const char*>& parts, char* y, const Parallel& parallel) {
  std::vector<char*> from;  // read only
  for (const char* part : parts) from.push_back(const_cast<char*>(part));
  (s.entry_bytes == 2 ? interleave_any<uint16_t, false> : interleave_any<uint32_t, false>)(s, from, y, parallel);
}

void unshuffle(const Shuffle& s, const char* y, const std::vector<char*>& parts, const Parallel& parallel) {
  char* from = const_cast<char*>(y);  // read only
  (s.entry_bytes == 2 ? interleave_any<uint16_t, true> : interleave_any<uint32_t, true>)(s, parts, from, parallel);
}

void subsample(const Sampling& s, const char* x, char* y, const Parallel& parallel) {
  const int64_t pixel = s.pixel_bytes, rows = s.batch * s.out_height();
  const int64_t tasks = std::min<int64_t>(rows, parallel.threads * 4);
  parallel.run(tasks, [&](int64_t task) {
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row) {
      const int64_t image = row / s.out_height(), in_row = row % s.out_height() * s.stride_height;
      const char* from = x + (image * s.height + in_row) * s.width * pixel;
      char* to = y + row * s.out_width() * pixel;
      for (int column = 0; column < s.out_width(); ++column)
        std::memcpy(to + column * pixel, from + column * s.stride_width * pixel, pixel);
    }
  });
}

void subsample_gradient(const Sampling& s, const char* dy, char* dx, const Parallel& parallel) {
  const int64_t pixel = s.pixel_bytes, rows = s.batch * s.height;
  const int64_t tasks = std::min<int64_t>(rows, parallel.threads * 4);
  parallel.run(tasks, [&](int64_t task) {
    for (int64_t row = rows * task / tasks; row < rows * (task + 1) / tasks; ++row) {
      const int64_t image = row / s.height, in_row = row % s.height;
      char* to = dx + row * s.width * pixel;
      if (in_row % s.stride_height) {
        std::memset(to, 0, s.width * pixel);
        continue;
      }
      const char* from = dy + (image * s.out_height() + in_row / s.stride_height) * s.out_width() * pixel;
      for (int column = 0; column < s.width; ++column, to += pixel) {
        if (column % s.stride_width) std::memset(to, 0, pixel);
        else std::memcpy(to, from + column / s.stride_width * pixel, pixel);
      }
    }
  });
}

}  // namespace blocks
