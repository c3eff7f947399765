// The operations of norm.cc and sampling.cc: what they check, allocate and call.
#include "tensorflow_side.h"

namespace blocks {
namespace {

template <class T>
class NormTrain : public OpKernel {
 public:
  explicit NormTrain(OpKernelConstruction* c) : OpKernel(c), activation_(activation_of(c)) {
    OP_REQUIRES_OK(c, c->GetAttr("epsilon", &epsilon_));
    OP_REQUIRES_OK(c, c->GetAttr("rate", &rate_));
  }
  void Compute(OpKernelContext* c) override {
    const Tensor& x = c->input(0);
    const int64_t channels = x.dim_size(x.dims() - 1), rows = channels ? x.NumElements() / channels : 0;
    check_channels(c, channels);
    for (int i = 1; i < 5 && c->status().ok(); ++i) check_vector(c, i, channels);
    if (!c->status().ok()) return;
    OP_REQUIRES(c, rows > 0, InvalidArgument("nothing to normalise: the batch is empty"));
    OP_REQUIRES(c, !has_residual(c, 5) || c->input(5).shape() == x.shape(),
                InvalidArgument("the residual's shape is not that of the inputs"));
    const TensorShape vector({channels});
    auto* y = out<T>(c, 0, x.shape());
    float *moved_mean = out<float>(c, 1, vector), *moved_variance = out<float>(c, 2, vector);
    float *mean = out<float>(c, 3, vector), *rstd = out<float>(c, 4, vector);
    if (!c->status().ok()) return;
    const Parallel parallel = parallel_of(c);
    const float *gamma = in<float>(c, 1), *beta = in<float>(c, 2);
    const float *running_mean = in<float>(c, 3), *running_variance = in<float>(c, 4);
    moments(in<T>(c, 0), rows, int(channels), mean, rstd, parallel);
    std::vector<float> scale(channels), offset(channels);
    const float unbiased = float(double(rows) / std::max<int64_t>(1, rows - 1));
    for (int64_t i = 0; i < channels; ++i) {
      moved_mean[i] = running_mean[i] + rate_ * (mean[i] - running_mean[i]);
      moved_variance[i] = running_variance[i] + rate_ * (rstd[i] * unbiased - running_variance[i]);
      rstd[i] = 1.0f / std::sqrt(rstd[i] + epsilon_);
      scale[i] = gamma[i] * rstd[i];
      offset[i] = beta[i] - mean[i] * scale[i];
    }
    affine(in<T>(c, 0), has_residual(c, 5) ? in<T>(c, 5) : nullptr, y, rows, int(channels), scale.data(),
           offset.data(), activation_, parallel);
  }

 private:
  float epsilon_, rate_;
  Activation activation_;
};

template <class T>
class NormTrainGrad : public OpKernel {
 public:
  explicit NormTrainGrad(OpKernelConstruction* c) : OpKernel(c), activation_(activation_of(c)) {
    OP_REQUIRES_OK(c, c->GetAttr("residual", &residual_));
  }
  void Compute(OpKernelContext* c) override {
    const Tensor& x = c->input(1);
    const int64_t channels = x.dim_size(x.dims() - 1), rows = x.NumElements() / channels;
    check_channels(c, channels);
    OP_REQUIRES(c, c->input(0).shape() == x.shape(), InvalidArgument("gradients and inputs differ in shape"));
    for (int i = 2; i < 6 && c->status().ok(); ++i) check_vector(c, i, channels);
    OP_REQUIRES(c, !has_residual(c, 6) || c->input(6).shape() == x.shape(), InvalidArgument("outputs differ in shape"));
    const TensorShape vector({channels});
    auto* dx = out<T>(c, 0, x.shape());
    float *d_gamma = out<float>(c, 1, vector), *d_beta = out<float>(c, 2, vector);
    auto* d_residual = out<T>(c, 3, residual_ ? x.shape() : TensorShape({0}));
    if (!c->status().ok()) return;
    norm_gradient(in<T>(c, 0), in<T>(c, 1), has_residual(c, 6) ? in<T>(c, 6) : nullptr, dx,
                  residual_ ? d_residual : nullptr, rows, int(channels), in<float>(c, 4), in<float>(c, 5),
                  in<float>(c, 2), in<float>(c, 3), d_gamma, d_beta, activation_, parallel_of(c));
  }

 private:
  bool residual_;
  Activation activation_;
};

template <class T>
class Affine : public OpKernel {
 public:
  explicit Affine(OpKernelConstruction* c) : OpKernel(c), activation_(activation_of(c)) {}
  void Compute(OpKernelContext* c) override {
    const Tensor& x = c->input(0);
    const int64_t channels = x.dim_size(x.dims() - 1);
    check_channels(c, channels);
    for (int i = 1; i < 3 && c->status().ok(); ++i) check_vector(c, i, channels);
    OP_REQUIRES(c, !has_residual(c, 3) || c->input(3).shape() == x.shape(),
                InvalidArgument("the residual's shape is not that of the inputs"));
    auto* y = out<T>(c, 0, x.shape());
    if (!c->status().ok()) return;
    affine(in<T>(c, 0), has_residual(c, 3) ? in<T>(c, 3) : nullptr, y, x.NumElements() / channels, int(channels),
           in<float>(c, 1), in<float>(c, 2), activation_, parallel_of(c));
  }

 private:
  Activation activation_;
};

template <class T, bool Gradient>
class Subsample : public OpKernel {
 public:
  explicit Subsample(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("strides", &strides_));
    OP_REQUIRES(c, strides_.size() == 2 && strides_[0] > 0 && strides_[1] > 0, InvalidArgument("two strides, positive"));
  }
  void Compute(OpKernelContext* c) override {
    TensorShape full = c->input(0).shape();
    if (Gradient && (full.Clear(), !shape_input(c, full))) return;
    OP_REQUIRES(c, full.dims() == 4, InvalidArgument("images are (B, H, W, C)"));
    const Sampling s{full.dim_size(0), int(full.dim_size(1)), int(full.dim_size(2)), strides_[0], strides_[1],
                     full.dim_size(3) * int64_t(sizeof(T))};
    const TensorShape small({s.batch, s.out_height(), s.out_width(), full.dim_size(3)});
    OP_REQUIRES(c, !Gradient || c->input(0).shape() == small, InvalidArgument("gradients of a wrong shape"));
    auto* to = reinterpret_cast<char*>(out<T>(c, 0, Gradient ? full : small));
    const auto* from = reinterpret_cast<const char*>(in<T>(c, 0));
    if (to && full.num_elements()) (Gradient ? subsample_gradient : subsample)(s, from, to, parallel_of(c));
  }

 private:
  std::vector<int32_t> strides_;
};
template <class T>
using SubsampleForward = Subsample<T, false>;
template <class T>
using SubsampleGrad = Subsample<T, true>;

// Parts and pieces of the same images: the inputs, checked to differ in their channels only.
inline std::vector<const char*> alike(OpKernelContext* c, Shuffle& s, std::vector<int>& sizes) {
  std::vector<const char*> all;
  const TensorShape& shape = c->input(0).shape();
  const int last = shape.dims() - 1;
  for (int i = 0; i < c->num_inputs(); ++i) {
    const TensorShape& part = c->input(i).shape();
    if (part.dims() != last + 1 || part.dim_size(last) <= 0 || with_channels(part, 1) != with_channels(shape, 1)) {
      c->CtxFailure(InvalidArgument("parts to be shuffled differ in more than their channels"));
      return all;
    }
    sizes.push_back(int(part.dim_size(last)));
    s.channels += sizes.back();
    all.push_back(static_cast<const char*>(c->input(i).data()));
  }
  s.pixels = with_channels(shape, 1).num_elements();
  if (s.groups <= 0 || s.channels % s.groups)
    c->CtxFailure(InvalidArgument(s.groups, " groups do not divide ", s.channels, " channels"));
  return all;
}

template <class T, bool Back>
class ShuffleEither : public OpKernel {
 public:
  explicit ShuffleEither(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("groups", &groups_));
    if (Back) OP_REQUIRES_OK(c, c->GetAttr("sizes", &sizes_));
  }
  void Compute(OpKernelContext* c) override {
    Shuffle s{0, 0, groups_, int(sizeof(T)), {}};
    std::vector<int> sizes;
    const auto from = alike(c, s, sizes);
    if (!c->status().ok()) return;
    const int count = c->num_outputs();
    int total = 0;
    for (int i = 0; i < count; ++i) total += Back ? sizes_[i] : s.channels / count;
    OP_REQUIRES(c, total == s.channels && (!Back || s.channels == sizes[0] * c->num_inputs()),
                InvalidArgument("pieces of a shuffle are of one size, and its parts as wide together"));
    std::vector<char*> to;
    for (int i = 0; i < count && c->status().ok(); ++i)
      to.push_back(reinterpret_cast<char*>(
          out<T>(c, i, with_channels(c->input(0).shape(), Back ? sizes_[i] : s.channels / count))));
    s.sizes = Back ? sizes_ : sizes;
    if (c->status().ok() && s.pixels) (Back ? unshuffle : shuffle)(s, from, to, parallel_of(c));
  }

 private:
  int groups_;
  std::vector<int> sizes_;
};
template <class T>
using ShuffleForward = ShuffleEither<T, false>;
template <class T>
using Unshuffle = ShuffleEither<T, true>;

// Passes on all of its inputs once the last of them is there.
template <class T>
class Together : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    for (int i = 0; i < c->num_inputs(); ++i) c->set_output(i, c->input(i));
  }
};

class FewestChannels : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    Tensor* channels = nullptr;
    OP_REQUIRES_OK(c, c->allocate_output(0, TensorShape({}), &channels));
    *static_cast<int32_t*>(channels->data()) = fewest_channels();
  }
};

REGISTER_KERNEL_BUILDER(Name("BlocksFewestChannels").Device(tensorflow::DEVICE_CPU), FewestChannels);
BLOCKS_KERNEL("BlocksSubsample", SubsampleForward)
BLOCKS_KERNEL("BlocksSubsampleGrad", SubsampleGrad)
BLOCKS_KERNEL("BlocksShuffle", ShuffleForward)
BLOCKS_KERNEL("BlocksUnshuffle", Unshuffle)
BLOCKS_KERNEL("BlocksTogether", Together)
BLOCKS_KERNEL("BlocksNormTrain", NormTrain)
BLOCKS_KERNEL("BlocksNormTrainGrad", NormTrainGrad)
BLOCKS_KERNEL("BlocksAffine", Affine)

}  // namespace
}  // namespace blocks
