// Which level's kernels compute: the processor is asked once.
#pragma once

#include "../compute/kernel_table.h"

namespace blocks {

// The kernels of the level that was chosen, else of the best one that is linked and that the processor has.
const KernelTable& kernels();

}  // namespace blocks

// Chooses the level of this name for the process, or the best one where it is empty. Returns the name of the level;
// null where it is not linked, or the processor lacks it: nothing has been chosen then.
extern "C" const char* blocks_choose_level(const char* name);
