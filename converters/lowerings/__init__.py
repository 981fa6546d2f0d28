"""The built-in lowerings, one file a family; importing this package registers them."""

from converters.lowerings import (  # noqa: F401
    activation,
    attention,
    control,
    convolution,
    diagonal,
    elementwise,
    fake_quantization,
    image,
    indexing,
    linalg,
    matmul,
    normalization,
    pooling,
    recurrent,
    reduction,
    refused,
    resizing,
    shape,
    sizes,
    sorting,
)
