// Quotients of integers, of which the dividend may be negative and the divisor is positive.
#pragma once

namespace blocks {

inline int floor_div(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
inline int ceil_div(int a, int b) { return -floor_div(-a, b); }

}  // namespace blocks
