// The operations of shuffle.cc, selection.cc and pooling.cc: what they check, allocate and call.
#include "op_kernel_utils.h"

namespace blocks {
namespace {

template <class T, bool Gradient>
class Subsample : public OpKernel {
 public:
  explicit Subsample(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("strides", &strides_));
    OP_REQUIRES(c, strides_.size() == 2 && strides_[0] > 0 && strides_[1] > 0,
                InvalidArgument("two strides, positive"));
  }
  void Compute(OpKernelContext* c) override {
    TensorShape full = c->input(0).shape();
    if (Gradient && (full.Clear(), !shape_input(c, full))) return;
    OP_REQUIRES(c, full.dims() == 4, InvalidArgument("images are (B, H, W, C)"));
    check_channels(c, full.dim_size(3), 1);
    if (!c->status().ok()) return;
    const Sampling s{full.dim_size(0), int(full.dim_size(1)), int(full.dim_size(2)),
                     strides_[0],      strides_[1],           full.dim_size(3) * int64_t(sizeof(T))};
    const TensorShape small({s.batch, s.out_height(), s.out_width(), full.dim_size(3)});
    OP_REQUIRES(c, !Gradient || c->input(0).shape() == small, InvalidArgument("gradients of a wrong shape"));
    auto* to = reinterpret_cast<char*>(out<T>(c, 0, Gradient ? full : small));
    const auto* from = reinterpret_cast<const char*>(in<T>(c, 0));
    if (to && full.num_elements())
      (Gradient ? kernels().subsample_gradient : kernels().subsample)(s, from, to, parallel_of(c));
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
    check_channels(c, channels_of(part), 1);
    if (!c->status().ok()) return all;
    if (part.dims() != last + 1 || with_channels(part, 1) != with_channels(shape, 1)) {
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
    if (!Back) return;
    OP_REQUIRES_OK(c, c->GetAttr("sizes", &sizes_));
    OP_REQUIRES(c, int(sizes_.size()) == c->num_outputs(), InvalidArgument("as many sizes as parts"));
    for (int size : sizes_) OP_REQUIRES(c, size > 0, InvalidArgument("sizes of parts are positive, got ", size));
  }
  void Compute(OpKernelContext* c) override {
    Shuffle s{0, 0, groups_, int(sizeof(T)), {}};
    std::vector<int> sizes;
    const auto from = alike(c, s, sizes);
    if (!c->status().ok()) return;
    const int count = c->num_outputs();
    int64_t total = 0;
    for (int i = 0; i < count; ++i) total += Back ? sizes_[i] : s.channels / count;
    OP_REQUIRES(c, total == s.channels && (!Back || s.channels == sizes[0] * c->num_inputs()),
                InvalidArgument("pieces of a shuffle are of one size, and its parts as wide together"));
    std::vector<char*> to;
    for (int i = 0; i < count && c->status().ok(); ++i)
      to.push_back(reinterpret_cast<char*>(
          out<T>(c, i, with_channels(c->input(0).shape(), Back ? sizes_[i] : s.channels / count))));
    s.sizes = Back ? sizes_ : sizes;
    if (c->status().ok() && s.pixels) (Back ? kernels().unshuffle : kernels().shuffle)(s, from, to, parallel_of(c));
  }

 private:
  int groups_;
  std::vector<int> sizes_;
};
template <class T>
using ShuffleForward = ShuffleEither<T, false>;
template <class T>
using Unshuffle = ShuffleEither<T, true>;

// Channels of the first input by the index, the second one, and the gradient.
template <class T, bool Gradient>
class Select : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    TensorShape full = c->input(0).shape();
    if (Gradient && (full.Clear(), !shape_input(c, full))) return;
    check_channels(c, channels_of(full), 1);
    if (!c->status().ok()) return;
    const Tensor& index = c->input(1);
    OP_REQUIRES(c, index.dims() == 1, InvalidArgument("an index of channels has one axis, got ", index.dims()));
    Selection s{with_channels(full, 1).num_elements(), int(channels_of(full)), {}};
    const auto* from = static_cast<const int64_t*>(index.data());
    for (int64_t i = 0; i < index.NumElements(); ++i) {
      OP_REQUIRES(c, from[i] >= 0 && from[i] < s.channels,
                  InvalidArgument("channel ", from[i], " is selected of ", s.channels));
      s.index.push_back(int32_t(from[i]));
    }
    const TensorShape chosen = with_channels(full, s.selected());
    OP_REQUIRES(c, !Gradient || c->input(0).shape() == chosen, InvalidArgument("gradients of a wrong shape"));
    auto* to = out<T>(c, 0, Gradient ? full : chosen);
    if (!to || !s.pixels) return;
    (Gradient ? kernels_for<T>().select_channels_gradient : kernels_for<T>().select_channels)(s, in<T>(c, 0), to,
                                                                                              parallel_of(c));
  }
};
template <class T>
using SelectForward = Select<T, false>;
template <class T>
using SelectGrad = Select<T, true>;

// Passes on all of its inputs once the last of them is there.
template <class T>
class Together : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    for (int i = 0; i < c->num_inputs(); ++i) c->set_output(i, c->input(i));
  }
};

// Images as they are, and how many; where there are none, one of zeros in their place. TensorFlow's convolutions on
// oneDNN return their inputs for a batch without images, and what the memory holds for the gradient of the weights.
class AtLeastOne : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    const Tensor& x = c->input(0);
    OP_REQUIRES(c, x.dims() > 0, InvalidArgument("images have an axis for the batch"));
    Tensor* count = nullptr;
    OP_REQUIRES_OK(c, c->allocate_output(1, TensorShape({}), &count));
    *static_cast<int64_t*>(count->data()) = x.dim_size(0);
    if (x.dim_size(0)) return c->set_output(0, x);
    TensorShape shape = x.shape();
    shape.set_dim(0, 1);
    Tensor* y = nullptr;
    OP_REQUIRES_OK(c, c->allocate_output(0, shape, &y));
    std::memset(y->data(), 0, y->TotalBytes());
  }
};

// The first `count` images: all of them, or none.
class First : public OpKernel {
 public:
  using OpKernel::OpKernel;
  void Compute(OpKernelContext* c) override {
    const Tensor &x = c->input(0), &number = c->input(1);
    OP_REQUIRES(c, x.dims() > 0 && number.NumElements() == 1, InvalidArgument("images, and a number of them"));
    const int64_t count = *static_cast<const int64_t*>(number.data());
    OP_REQUIRES(c, count >= 0 && count <= x.dim_size(0), InvalidArgument(count, " of ", x.dim_size(0), " images"));
    c->set_output(0, count == x.dim_size(0) ? x : x.Slice(0, count));
  }
};

// What pooling and its gradient have in common: attributes, and the geometry they give with the shape of the images.
class PoolOp : public OpKernel {
 public:
  explicit PoolOp(OpKernelConstruction* c) : OpKernel(c) {
    OP_REQUIRES_OK(c, c->GetAttr("average", &average_));
    OP_REQUIRES_OK(c, c->GetAttr("window", &window_));
    OP_REQUIRES_OK(c, c->GetAttr("strides", &strides_));
    OP_REQUIRES_OK(c, c->GetAttr("explicit_padding", &explicit_padding_));
    OP_REQUIRES(
        c,
        window_.size() == 2 && strides_.size() == 2 && explicit_padding_.size() == 4 && strides_[0] > 0 &&
            strides_[1] > 0 && window_[0] > 0 && window_[1] > 0 && int64_t(window_[0]) * window_[1] <= kMaxWindowTaps,
        InvalidArgument("windows are (height, width) of ", kMaxWindowTaps, " taps at most, strides (height, width)"));
    for (int side = 0; side < 4; ++side)
      OP_REQUIRES(c, explicit_padding_[side] >= 0 && explicit_padding_[side] < window_[side / 2],
                  InvalidArgument("explicit_padding (top, bottom, left, right) is smaller than the window"));
  }

 protected:
  bool geometry(OpKernelContext* c, const TensorShape& x, Pooling& p) {
    if (x.dims() != 4) {
      c->CtxFailure(InvalidArgument("images are (B, H, W, C)"));
      return false;
    }
    check_channels(c, x.dim_size(3));
    p = {x.dim_size(0), int(x.dim_size(1)), int(x.dim_size(2)),   int(x.dim_size(3)),   window_[0], window_[1],
         strides_[0],   strides_[1],        explicit_padding_[0], explicit_padding_[2], 0,          0};
    set_windows(c, "window", x.dim_size(1), explicit_padding_[0], explicit_padding_[1], p.window_height,
                p.stride_height, p.out_height);
    set_windows(c, "window", x.dim_size(2), explicit_padding_[2], explicit_padding_[3], p.window_width, p.stride_width,
                p.out_width);
    if (!average_ && (p.height == 0 || p.width == 0))
      c->CtxFailure(
          InvalidArgument("the maximum of a window without a pixel is not defined, got images of ", x.DebugString()));
    return c->status().ok();
  }
  TensorShape outputs(const Pooling& p) { return TensorShape({p.batch, p.out_height, p.out_width, p.channels}); }
  // One byte an output; none for averages.
  TensorShape argmax_shape(const Pooling& p) { return average_ ? TensorShape({0}) : outputs(p); }
  bool average_;
  std::vector<int32_t> window_, strides_, explicit_padding_;
};

template <class T>
class PoolForward : public PoolOp {
 public:
  using PoolOp::PoolOp;
  void Compute(OpKernelContext* c) override {
    Pooling p;
    if (!geometry(c, c->input(0).shape(), p)) return;
    auto* y = out<T>(c, 0, outputs(p));
    Tensor* argmax = nullptr;
    OP_REQUIRES_OK(c, c->allocate_output(1, argmax_shape(p), &argmax));
    if (c->status().ok() && p.batch)
      kernels_for<T>().pool(p, average_ ? Pool::kAverage : Pool::kMax, in<T>(c, 0),
                            static_cast<uint8_t*>(argmax->data()), y, parallel_of(c));
  }
};

template <class T>
class PoolGather : public PoolOp {
 public:
  using PoolOp::PoolOp;
  void Compute(OpKernelContext* c) override {  // x, argmax
    Pooling p;
    if (!geometry(c, c->input(0).shape(), p)) return;
    OP_REQUIRES(c, !average_ && c->input(1).shape() == outputs(p), InvalidArgument("indices of a wrong shape"));
    auto* y = out<T>(c, 0, outputs(p));
    if (c->status().ok() && p.batch)
      kernels_for<T>().pool(p, Pool::kGather, in<T>(c, 0), static_cast<uint8_t*>(c->input(1).data()), y,
                            parallel_of(c));
  }
};

template <class T>
class PoolGrad : public PoolOp {
 public:
  using PoolOp::PoolOp;
  void Compute(OpKernelContext* c) override {  // dy, argmax, shape of x
    TensorShape shape;
    Pooling p;
    if (!shape_input(c, shape) || !geometry(c, shape, p)) return;
    OP_REQUIRES(c, c->input(0).shape() == outputs(p) && c->input(1).shape() == argmax_shape(p),
                InvalidArgument("gradients of a wrong shape"));
    auto* dx = out<T>(c, 0, shape);
    if (c->status().ok() && shape.num_elements())
      kernels_for<T>().pool_gradient(p, average_ ? Pool::kAverage : Pool::kMax, in<T>(c, 0),
                                     static_cast<const uint8_t*>(c->input(1).data()), dx, parallel_of(c));
  }
};

BLOCKS_KERNEL("BlocksSubsample", SubsampleForward)
BLOCKS_KERNEL("BlocksSubsampleGrad", SubsampleGrad)
BLOCKS_KERNEL("BlocksShuffle", ShuffleForward)
BLOCKS_KERNEL("BlocksUnshuffle", Unshuffle)
BLOCKS_KERNEL("BlocksSelect", SelectForward)
BLOCKS_KERNEL("BlocksSelectGrad", SelectGrad)
BLOCKS_KERNEL("BlocksTogether", Together)
#define BLOCKS_BATCH(TYPE)                                                                                   \
  REGISTER_KERNEL_BUILDER(Name("BlocksAtLeastOne").Device(tensorflow::DEVICE_CPU).TypeConstraint<TYPE>("T"), \
                          AtLeastOne);                                                                       \
  REGISTER_KERNEL_BUILDER(Name("BlocksFirst").Device(tensorflow::DEVICE_CPU).TypeConstraint<TYPE>("T"), First);

BLOCKS_BATCH(Eigen::half)
BLOCKS_BATCH(Eigen::bfloat16)
BLOCKS_BATCH(float)
BLOCKS_BATCH(double)
BLOCKS_KERNEL("BlocksPool", PoolForward)
BLOCKS_KERNEL("BlocksPoolGather", PoolGather)
BLOCKS_KERNEL("BlocksPoolGrad", PoolGrad)

}  // namespace
}  // namespace blocks
