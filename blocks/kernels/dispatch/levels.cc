// Which level is in use, by the instructions that the processor has and the system lets programs use.
#include "levels.h"

#include <atomic>
#include <cstring>

// The levels that are linked, the lowest first.
#ifndef BLOCKS_LEVELS
#define BLOCKS_LEVELS(LEVEL) LEVEL(native)
#endif

#define BLOCKS_HAS_native true
#define BLOCKS_HAS_neon true
#define BLOCKS_HAS_avx2 \
  __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")
#define BLOCKS_HAS_avx512                                                                                          \
  __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") && \
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && BLOCKS_HAS_avx2
#define BLOCKS_HAS_avx512_bf16 __builtin_cpu_supports("avx512bf16") && BLOCKS_HAS_avx512

#define BLOCKS_DECLARE(NAME) extern "C" const blocks::KernelTable blocks_kernels_##NAME;
BLOCKS_LEVELS(BLOCKS_DECLARE)

namespace blocks {
namespace {

struct Level {
  const char* name;
  const KernelTable* table;
  bool available;
};

const Level* find(const char* name) {
#define BLOCKS_ENTRY(NAME) {#NAME, &blocks_kernels_##NAME, BLOCKS_HAS_##NAME},
  static const Level levels[] = {BLOCKS_LEVELS(BLOCKS_ENTRY)};
  const Level* best = nullptr;
  for (const Level& level : levels)
    if (level.available && (!*name || !std::strcmp(level.name, name))) best = &level;
  return best;
}

std::atomic<const KernelTable*> chosen{nullptr};

}  // namespace

const KernelTable& kernels() {
  const KernelTable* table = chosen.load(std::memory_order_acquire);
  if (!table) blocks_choose_level(""), table = chosen.load(std::memory_order_acquire);
  return *table;
}

}  // namespace blocks

extern "C" const char* blocks_choose_level(const char* name) {
  const blocks::Level* level = blocks::find(name);
  if (!level) return nullptr;
  blocks::chosen.store(level->table, std::memory_order_release);
  return level->name;
}
