// The operations of excitation.cc: what they check, allocate and call.
#include "op_kernel_utils.h"

namespace blocks {
namespace {

// Images (B, H, W, C) and, where there is one, a vector for each of them: (B, 1, 1, C).
inline bool gating_of(OpKernelContext* c, const Tensor& x, const Tensor* each, Gating& g) {
  if (x.dims() != 4 || (each && each->shape() != TensorShape({x.dim_size(0), 1, 1, x.dim_size(3)}))) {
    c->CtxFailure(InvalidArgument("images are (B, H, W, C), and what belongs to each of them (B, 1, 1, C)"));
    return false;
  }
  check_channels(c, x.dim_size(3));
  g = {x.dim_size(0), x.dim_size(1) * x.dim_size(2), int(x.dim_size(3))};
  return c->status().ok();
}

// The means, and the images again: what becomes of them comes back as one gradient, to which the means' is added.
template <class T>
class ImageMeans : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    const Tensor& x = c->input(0);
    Gating g;
    if (!gating_of(c, x, nullptr, g)) return;
    auto* means = out<T>(c, 0, TensorShape({g.batch, 1, 1, g.channels}));
    c->set_output(1, x);
    if (c->status().ok() && g.batch) kernels_for<T>().image_means(g, in<T>(c, 0), means, parallel_of(c));
  }
};

template <class T>
class ImageMeansGrad : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {  // d_means, dx
    Gating g;
    if (!gating_of(c, c->input(1), &c->input(0), g)) return;
    if (c->input(1).NumElements() == 0) return c->set_output(0, c->input(1));
    Tensor* sum = nullptr;
    OP_REQUIRES_OK(c, c->forward_input_or_allocate_output({1}, 0, c->input(1).shape(), &sum));
    kernels_for<T>().add_image_means_gradient(g, in<T>(c, 0), in<T>(c, 1),
                                              static_cast<typename Stored<T>::type*>(sum->data()), parallel_of(c));
  }
};

template <class T>
class Gate : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {  // x, gates
    Gating g;
    if (!gating_of(c, c->input(0), &c->input(1), g)) return;
    auto* y = out<T>(c, 0, c->input(0).shape());
    if (c->status().ok() && c->input(0).NumElements())
      kernels_for<T>().gate(g, in<T>(c, 0), in<T>(c, 1), y, parallel_of(c));
  }
};

template <class T>
class GateGrad : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {  // dy, x, gates
    Gating g;
    if (!gating_of(c, c->input(1), &c->input(2), g)) return;
    OP_REQUIRES(c, c->input(0).shape() == c->input(1).shape(), InvalidArgument("gradients of a wrong shape"));
    auto *dx = out<T>(c, 0, c->input(1).shape()), *d_gates = out<T>(c, 1, c->input(2).shape());
    if (c->status().ok() && g.batch)
      kernels_for<T>().gate_gradient(g, in<T>(c, 0), in<T>(c, 1), in<T>(c, 2), dx, d_gates, parallel_of(c));
  }
};

// Candidates of one shape (B, H, W, C), or as many pieces of the channels of one tensor, and their logits
// (B, 1, 1, candidates * C). `Entry` is const where they are inputs.
template <class Entry>
void split_candidates(const std::vector<Entry*>& tensors, int radix, int channels, std::vector<Entry*>& candidates) {
  for (int i = 0; i < radix; ++i)
    candidates.push_back(int(tensors.size()) == radix ? tensors[i] : tensors[0] + int64_t(i) * channels);
}

template <class T, bool Gradient>
class SoftmaxSumEither : public OpKernel {
 public:
  explicit SoftmaxSumEither(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("radix", &radix_));
    OP_REQUIRES_OK(c, c->GetAttr("N", &tensors_));
    OP_REQUIRES(c, tensors_ == 1 || tensors_ == radix_,
                InvalidArgument("candidates are one tensor or as many as the radix, ", radix_, "; got ", tensors_));
  }
  void Compute(OpKernelContext* c) override {  // dy, if Gradient; candidates; logits
    typedef typename Stored<T>::type Entry;
    const int first = Gradient ? 1 : 0, pieces = radix_ / tensors_;
    const Tensor &x = c->input(first), &logits = c->input(first + tensors_);
    OP_REQUIRES(c, x.dims() == 4 && x.dim_size(3) % pieces == 0,
                InvalidArgument("candidates are (B, H, W, C), and pieces of one tensor of equal size"));
    const Gating g = {x.dim_size(0), x.dim_size(1) * x.dim_size(2), int(x.dim_size(3) / pieces)};
    check_channels(c, g.channels);
    if (!c->status().ok()) return;
    OP_REQUIRES(c, logits.shape() == TensorShape({g.batch, 1, 1, int64_t(radix_) * g.channels}),
                InvalidArgument("logits are (B, 1, 1, candidates * C)"));
    const TensorShape summed = with_channels(x.shape(), g.channels);
    OP_REQUIRES(c, !Gradient || c->input(0).shape() == summed, InvalidArgument("gradients of a wrong shape"));
    std::vector<const Entry*> inputs, candidates;
    for (int i = 0; i < tensors_; ++i) {
      OP_REQUIRES(c, c->input(first + i).shape() == x.shape(), InvalidArgument("candidates are of one shape"));
      inputs.push_back(in<T>(c, first + i));
    }
    split_candidates(inputs, radix_, g.channels, candidates);
    if constexpr (Gradient) {
      std::vector<Entry*> outputs, d_candidates;
      for (int i = 0; i < tensors_ && c->status().ok(); ++i) outputs.push_back(out<T>(c, i, x.shape()));
      if (!c->status().ok()) return;
      auto* d_logits = out<T>(c, tensors_, logits.shape());
      if (!c->status().ok() || !g.batch) return;
      split_candidates(outputs, radix_, g.channels, d_candidates);
      kernels_for<T>().softmax_sum_gradient(g, x.dim_size(3), in<T>(c, 0), candidates, in<T>(c, first + tensors_),
                                            d_candidates, d_logits, parallel_of(c));
    } else {
      auto* y = out<T>(c, 0, summed);
      if (c->status().ok() && x.NumElements())
        kernels_for<T>().softmax_sum(g, x.dim_size(3), candidates, in<T>(c, tensors_), y, parallel_of(c));
    }
  }

 private:
  int radix_, tensors_;
};
template <class T>
using SoftmaxSum = SoftmaxSumEither<T, false>;
template <class T>
using SoftmaxSumGrad = SoftmaxSumEither<T, true>;

BLOCKS_KERNEL("BlocksImageMeans", ImageMeans)
BLOCKS_KERNEL("BlocksImageMeansGrad", ImageMeansGrad)
BLOCKS_KERNEL("BlocksGate", Gate)
BLOCKS_KERNEL("BlocksGateGrad", GateGrad)
BLOCKS_KERNEL("BlocksSoftmaxSum", SoftmaxSum)
BLOCKS_KERNEL("BlocksSoftmaxSumGrad", SoftmaxSumGrad)

}  // namespace
}  // namespace blocks
