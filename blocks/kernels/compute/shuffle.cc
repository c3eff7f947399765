// Every n-th row and column of images, channel shuffles, and their gradients.
#include <cstring>

#include "kernels.h"

namespace blocks {
namespace {

// Pixels [begin, end) of all parts, gathered into (or, Back, scattered from) the pieces of interleaved channels.
// G > 0 fixes the number of groups for the compiler; each group lies within one part then, and a piece has as many
// channels of each group.
template <class E, int G, bool Back>
void interleave(const Shuffle& s, const std::vector<char*>& parts, const std::vector<char*>& pieces, int64_t begin,
                int64_t end) {
  const int groups = G ? G : s.groups, each = s.channels / groups, piece = s.channels / int(pieces.size());
  std::vector<E> row(s.channels), mixed(s.channels);
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    if (G) {
      E* x[G ? G : 1];
      for (int j = 0, part = 0, first = 0; j < G; ++j) {
        while (j * each >= first + s.sizes[part]) first += s.sizes[part++];
        x[j] = reinterpret_cast<E*>(parts[part]) + pixel * s.sizes[part] + (j * each - first);
      }
      const int some = piece / (G ? G : 1);
      for (char* to : pieces) {
        E* y = reinterpret_cast<E*>(to) + pixel * piece;
        for (int i = 0; i < some; ++i)
#pragma GCC unroll 8
          for (int j = 0; j < G; ++j) {
            if (Back) x[j][i] = y[i * G + j];
            else y[i * G + j] = x[j][i];
          }
        for (int j = 0; j < G; ++j) x[j] += some;
      }
      continue;
    }
    for (size_t part = 0, first = 0; part < parts.size() && !Back; first += s.sizes[part++])
      std::memcpy(row.data() + first, reinterpret_cast<E*>(parts[part]) + pixel * s.sizes[part],
                  s.sizes[part] * sizeof(E));
    for (size_t i = 0; i < pieces.size() && Back; ++i)
      std::memcpy(mixed.data() + i * piece, reinterpret_cast<E*>(pieces[i]) + pixel * piece, piece * sizeof(E));
    for (int j = 0; j < groups; ++j)
      for (int i = 0; i < each; ++i) {
        if (Back) row[j * each + i] = mixed[i * groups + j];
        else mixed[i * groups + j] = row[j * each + i];
      }
    for (size_t part = 0, first = 0; part < parts.size() && Back; first += s.sizes[part++])
      std::memcpy(reinterpret_cast<E*>(parts[part]) + pixel * s.sizes[part], row.data() + first,
                  s.sizes[part] * sizeof(E));
    for (size_t i = 0; i < pieces.size() && !Back; ++i)
      std::memcpy(reinterpret_cast<E*>(pieces[i]) + pixel * piece, mixed.data() + i * piece, piece * sizeof(E));
  }
}

template <class E, bool Back>
void interleave_any(const Shuffle& s, const std::vector<char*>& parts, const std::vector<char*>& pieces,
                    const Parallel& parallel) {
  const int each = s.channels / s.groups;
  bool whole = each % int(pieces.size()) == 0;  // a piece has as many channels of each group,
  for (size_t part = 0, first = 0; part < parts.size(); first += s.sizes[part++])
    whole = whole && first % each == 0;  // and groups don't cross from one part to the next
  const auto run = !whole          ? interleave<E, 0, Back>
                   : s.groups == 2 ? interleave<E, 2, Back>
                   : s.groups == 3 ? interleave<E, 3, Back>
                   : s.groups == 4 ? interleave<E, 4, Back>
                   : s.groups == 8 ? interleave<E, 8, Back>
                                   : interleave<E, 0, Back>;
  const int64_t tasks = std::max<int64_t>(1, std::min<int64_t>(s.pixels * s.channels / 16384, parallel.threads * 4));
  parallel.run(tasks,
               [&](int64_t task) { run(s, parts, pieces, s.pixels * task / tasks, s.pixels * (task + 1) / tasks); });
}

// For what is only read.
std::vector<char*> readable(const std::vector<const char*>& from) {
  std::vector<char*> all;
  for (const char* one : from) all.push_back(const_cast<char*>(one));
  return all;
}

}  // namespace

void shuffle(const Shuffle& s, const std::vector<const char*>& parts, const std::vector<char*>& pieces,
             const Parallel& parallel) {
  const auto run = s.entry_bytes == 2 ? interleave_any<uint16_t, false> : interleave_any<uint32_t, false>;
  run(s, readable(parts), pieces, parallel);
}

void unshuffle(const Shuffle& s, const std::vector<const char*>& pieces, const std::vector<char*>& parts,
               const Parallel& parallel) {
  const auto run = s.entry_bytes == 2 ? interleave_any<uint16_t, true> : interleave_any<uint32_t, true>;
  run(s, parts, readable(pieces), parallel);
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
