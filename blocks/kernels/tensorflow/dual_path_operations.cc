// The operations of dual_path.cc: what they check, allocate and call.
#include <limits>

#include "op_kernel_utils.h"

namespace blocks {
namespace {

// The update is one tensor, of which the first channels are added and the others appended, or one of each.
class DualPathOp : public OpKernel {
 public:
  explicit DualPathOp(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("residual", &residual_));
    OP_REQUIRES(c, residual_ >= 0, InvalidArgument("a number of residual channels, got ", residual_));
    OP_REQUIRES_OK(c, c->GetAttr("N", &parts_));
    OP_REQUIRES(c, parts_ <= 2, InvalidArgument("an update of one or two parts, got ", parts_));
  }

 protected:
  bool geometry(OpKernelContext* c, const TensorShape& shape, int64_t paths, int64_t growth, DualPath& d) {
    if (paths < residual_ || growth < 0 || paths + growth > std::numeric_limits<int>::max()) {
      c->CtxFailure(InvalidArgument("paths of ", paths, " channels with ", residual_, " residual ones and ", growth,
                                    " that are appended"));
      return false;
    }
    const int64_t both = residual_ + growth;
    d = {with_channels(shape, 1).num_elements(),
         residual_,
         int(paths) - residual_,
         int(growth),
         parts_ == 1 ? both : residual_,
         parts_ == 1 ? both : growth};
    return true;
  }

  int residual_, parts_;
};

template <class T>
class MergePaths : public DualPathOp {
 public:
  using DualPathOp::DualPathOp;
  void Compute(OpKernelContext* c) override {  // paths, update
    const TensorShape& paths = c->input(0).shape();
    for (int i = 1; i <= parts_; ++i)
      OP_REQUIRES(c,
                  paths.dims() > 0 && paths.dims() == c->input(i).dims() &&
                      with_channels(paths, 1) == with_channels(c->input(i).shape(), 1),
                  InvalidArgument("paths and their update differ in more than their channels"));
    const int64_t added = channels_of(c->input(1).shape());
    OP_REQUIRES(c, parts_ == 1 || added == residual_,
                InvalidArgument(residual_, " residual channels, and ", added, " that are added"));
    const int64_t growth = parts_ == 1 ? added - residual_ : channels_of(c->input(2).shape());
    DualPath d;
    if (!geometry(c, paths, channels_of(paths), growth, d)) return;
    auto* y = out<T>(c, 0, with_channels(paths, d.outputs()));
    if (!c->status().ok() || !d.pixels || !d.outputs()) return;
    const auto* first = in<T>(c, 1);
    kernels_for<T>().merge_paths(d, in<T>(c, 0), first, parts_ == 1 ? first + residual_ : in<T>(c, 2), y,
                                 parallel_of(c));
  }
};

template <class T>
class MergePathsGrad : public DualPathOp {
 public:
  explicit MergePathsGrad(OpKernelConstruction* c) : DualPathOp(c) {
    OP_REQUIRES_OK(c, c->GetAttr("growth", &growth_));
  }
  void Compute(OpKernelContext* c) override {  // dy
    const TensorShape& shape = c->input(0).shape();
    OP_REQUIRES(c, shape.dims() > 0, InvalidArgument("gradients have channels"));
    DualPath d;
    if (!geometry(c, shape, channels_of(shape) - growth_, growth_, d)) return;
    auto *d_paths = out<T>(c, 0, with_channels(shape, d.path_channels())),
         *first = out<T>(c, 1, with_channels(shape, d.added_step));
    auto* second = parts_ == 1 ? first + residual_ : out<T>(c, 2, with_channels(shape, growth_));
    if (c->status().ok() && d.pixels && d.outputs())
      kernels_for<T>().merge_paths_gradient(d, in<T>(c, 0), d_paths, first, second, parallel_of(c));
  }

 private:
  int growth_;
};

BLOCKS_KERNEL("BlocksMergePaths", MergePaths)
BLOCKS_KERNEL("BlocksMergePathsGrad", MergePathsGrad)

}  // namespace
}  // namespace blocks
