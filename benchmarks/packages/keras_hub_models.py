"""The backbones of keras_hub, and its tasks of images, in configurations a little larger than those of its own tests.

https://github.com/keras-team/keras-hub
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.packages.entry import Entry

INSTALL = "pip install --no-deps keras-hub kagglehub kagglesdk pyyaml regex tqdm requests"


def _models() -> Any:
    from keras_hub import models

    return models


def _layers() -> Any:
    from keras_hub import layers

    return layers


RESNET: dict[str, Any] = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 128, 256, 512],
    "stackwise_num_blocks": [2, 2, 2, 2],
    "stackwise_num_strides": [1, 2, 2, 2],
    "block_type": "basic_block",
}
HGNET: dict[str, Any] = {
    "embedding_size": 32,
    "stem_channels": [3, 16, 32],
    "hidden_act": "relu",
    "use_learnable_affine_block": True,
    "image_shape": (64, 64, 3),
    "depths": [1, 1],
    "hidden_sizes": [64, 128],
    "stackwise_stage_filters": [[32, 16, 64, 1, 2, 3], [64, 32, 128, 1, 2, 3]],
    "apply_downsample": [False, True],
    "use_lightweight_conv_block": [False, True],
    "out_features": ["stem", "stage1", "stage2"],
}
VIT: dict[str, Any] = {"num_layers": 3, "hidden_dim": 48, "num_heads": 6}
MIT: dict[str, Any] = {
    "layerwise_depths": [2, 2],
    "image_shape": (64, 64, 3),
    "hidden_dims": [32, 64],
    "num_layers": 2,
    "layerwise_num_heads": [1, 2],
    "layerwise_sr_ratios": [8, 4],
    "max_drop_path_rate": 0.1,
    "layerwise_patch_sizes": [7, 3],
    "layerwise_strides": [4, 2],
}
DINO: dict[str, Any] = {"num_layers": 2, "hidden_dim": 32, "num_heads": 2, "intermediate_dim": 128}
IMAGES: dict[str, dict[str, Any]] = {
    "CSPNetBackbone": {
        "stem_filters": 32,
        "stem_kernel_size": 3,
        "stem_strides": 1,
        "stackwise_strides": 2,
        "stackwise_depth": [1, 2, 8],
        "stackwise_num_filters": [16, 24, 48],
        "down_growth": True,
        "bottle_ratio": (0.5, 1.0),
        "block_ratio": (1.0, 0.5),
        "expand_ratio": (2.0, 1.0),
        "block_type": "dark_block",
        "stage_type": "csp",
        "stem_padding": "same",
    },
    "DeiTBackbone": {**VIT, "image_shape": (28, 28, 3), "patch_size": 4, "intermediate_dim": 192},
    "DenseNetBackbone": {
        "stackwise_num_repeats": [6, 12, 24, 16],
        "compression_ratio": 0.5,
        "growth_rate": 8,
        "image_shape": (64, 64, 3),
    },
    "DINOV2Backbone": {**DINO, "patch_size": 14, "num_register_tokens": 4, "image_shape": (70, 70, 3)},
    "DINOV3Backbone": {**DINO, "patch_size": 16, "image_shape": (64, 64, 3)},
    "EfficientNetBackbone": {
        "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
        "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
        "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
        "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
        "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
        "stackwise_squeeze_and_excite_ratios": [0.25] * 7,
        "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
        "stackwise_block_types": ["v1"] * 7,
        "stackwise_width_coefficients": [1.0] * 7,
        "stackwise_depth_coefficients": [1.0] * 7,
    },
    "HGNetV2Backbone": HGNET,
    "MiTBackbone": MIT,
    "MobileNetBackbone": {
        "stackwise_expansion": [[40, 56], [64, 144, 144], [72, 72], [144, 288, 288]],
        "stackwise_num_blocks": [2, 3, 2, 3],
        "stackwise_num_filters": [[16, 16], [24, 24, 24], [24, 24], [48, 48, 48]],
        "stackwise_kernel_size": [[3, 3], [5, 5, 5], [5, 5], [5, 5, 5]],
        "stackwise_num_strides": [[2, 1], [2, 1, 1], [1, 1], [2, 1, 1]],
        "stackwise_se_ratio": [[None, None], [0.25] * 3, [0.25] * 2, [0.25] * 3],
        "stackwise_activation": [["relu"] * 2, ["hard_swish"] * 3, ["hard_swish"] * 2, ["hard_swish"] * 3],
        "stackwise_padding": [[1, 1], [2, 2, 2], [2, 2], [2, 2, 2]],
        "output_num_filters": 1024,
        "input_activation": "hard_swish",
        "output_activation": "hard_swish",
        "input_num_filters": 16,
        "depthwise_filters": 8,
        "depthwise_stride": 2,
        "depthwise_residual": False,
        "squeeze_and_excite": 0.5,
        "last_layer_filter": 288,
    },
    "MobileNetV5Backbone": {
        "stackwise_block_types": [["er"], ["uir", "mqa", "uir"]],
        "stackwise_num_blocks": [1, 3],
        "stackwise_num_filters": [[24], [48, 48, 48]],
        "stackwise_strides": [[2], [2, 1, 1]],
        "stackwise_act_layers": [["relu"], ["gelu", "gelu", "gelu"]],
        "stackwise_exp_ratios": [[4.0], [6.0, 0.0, 6.0]],
        "stackwise_se_ratios": [[0.0], [0.0, 0.0, 0.0]],
        "stackwise_dw_kernel_sizes": [[0], [5, 3, 5]],
        "stackwise_dw_start_kernel_sizes": [[0], [3, 0, 0]],
        "stackwise_dw_end_kernel_sizes": [[0], [0, 0, 0]],
        "stackwise_exp_kernel_sizes": [[3], [0, 0, 0]],
        "stackwise_pw_kernel_sizes": [[1], [0, 0, 0]],
        "stackwise_num_heads": [[0], [0, 4, 0]],
        "stackwise_key_dims": [[0], [0, 16, 0]],
        "stackwise_value_dims": [[0], [0, 16, 0]],
        "stackwise_kv_strides": [[0], [0, 2, 0]],
        "stackwise_use_cpe": [[False], [False, False, False]],
        "image_shape": (64, 64, 3),
        "stem_size": 16,
        "use_msfa": False,
    },
    "ResNetBackbone": {**RESNET, "block_type": "bottleneck_block"},
    "SwinTransformerBackbone": {
        "image_shape": (64, 64, 3),
        "embed_dim": 32,
        "depths": (2, 2),
        "num_heads": (2, 4),
        "window_size": 4,
    },
    "VGGBackbone": {
        "stackwise_num_repeats": [2, 3, 3],
        "stackwise_num_filters": [8, 64, 64],
        "image_shape": (64, 64, 3),
    },
    "VideoPrismBackbone": {
        "image_shape": (28, 28, 3),
        "num_frames": 4,
        "patch_size": 4,
        "hidden_dim": 16,
        "intermediate_dim": 32,
        "num_heads": 2,
        "num_spatial_layers": 1,
        "num_temporal_layers": 1,
        "num_auxiliary_layers": 1,
    },
    "ViTBackbone": {**VIT, "image_shape": (28, 28, 3), "patch_size": (4, 4), "mlp_dim": 192},
    "ViTDetBackbone": {
        "image_shape": (64, 64, 3),
        "patch_size": 8,
        "hidden_size": 32,
        "num_layers": 3,
        "global_attention_layer_indices": [2],
        "intermediate_dim": 64,
        "num_heads": 2,
        "num_output_channels": 16,
        "window_size": 3,
    },
    "XceptionBackbone": {
        "stackwise_conv_filters": [[32, 64], [128, 128], [256, 256]],
        "stackwise_pooling": [False, True, False],
    },
}
"""Backbone -> the arguments that it is made with."""


def _resnet(**changes: Any) -> Any:
    return _models().ResNetBackbone(**{**RESNET, **changes})


def _deeplab() -> Any:
    encoder = _resnet(
        stackwise_num_filters=[64, 64, 64], stackwise_num_blocks=[2, 2, 2], stackwise_num_strides=[1, 2, 2]
    )
    return _models().DeepLabV3Backbone(
        image_encoder=encoder,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P4",
        dilation_rates=[6, 12, 18],
        upsampling_size=4,
        image_shape=(96, 96, 3),
    )


def _retinanet() -> Any:
    return _models().RetinaNetBackbone(image_encoder=_resnet(), min_level=3, max_level=7, use_p5=True)


def _retinanet_detector() -> Any:
    anchors = _layers().AnchorGenerator(
        bounding_box_format="yxyx",
        min_level=3,
        max_level=7,
        num_scales=3,
        aspect_ratios=[0.5, 1.0, 2.0],
        anchor_size=4,
    )
    from keras_hub.src.models.retinanet.retinanet_label_encoder import RetinaNetLabelEncoder

    encoder = RetinaNetLabelEncoder(bounding_box_format="yxyx", anchor_generator=anchors)
    return _models().RetinaNetObjectDetector(_retinanet(), 10, anchor_generator=anchors, label_encoder=encoder)


def _d_fine(image_shape: tuple[int | None, ...] = (64, 64, 3)) -> Any:
    encoder = _models().HGNetV2Backbone(
        **{**HGNET, "image_shape": (None, None, 3), "out_features": ["stage1", "stage2"]}
    )
    return _models().DFineBackbone(
        backbone=encoder,
        decoder_in_channels=[32, 32],
        encoder_hidden_dim=32,
        num_denoising=10,
        num_labels=4,
        hidden_dim=32,
        learn_initial_query=False,
        num_queries=10,
        anchor_image_size=(64, 64),
        feat_strides=[4, 8],
        num_feature_levels=2,
        encoder_in_channels=[64, 128],
        encode_proj_layers=[1],
        num_attention_heads=2,
        encoder_ffn_dim=64,
        num_encoder_layers=1,
        hidden_expansion=0.5,
        depth_multiplier=0.5,
        eval_idx=-1,
        num_decoder_layers=3,
        decoder_attention_heads=2,
        decoder_ffn_dim=64,
        decoder_n_points=[2, 2],
        lqe_hidden_dim=16,
        num_lqe_layers=2,
        out_features=["stage1", "stage2"],
        image_shape=image_shape,
        seed=0,
    )


def _segformer() -> Any:
    return _models().SegFormerBackbone(image_encoder=_models().MiTBackbone(**MIT), projection_filters=64)


def _basnet() -> Any:
    return _models().BASNetBackbone(image_encoder=_resnet(), num_classes=1, image_shape=(64, 64, 3))


def _depth_anything() -> Any:
    names = [f"stage{number}" for number in range(1, 5)]
    encoder = _models().DINOV2Backbone(
        14, 4, 16, 2, 64, 1.0, 0, image_shape=(126, 126, 3), apply_layernorm=True, name="image_encoder"
    )
    return _models().DepthAnythingBackbone(
        image_encoder=encoder,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_dims=[16, 32, 64, 128],
        fusion_hidden_dim=128,
        head_hidden_dim=16,
        head_in_index=-1,
        feature_keys=names,
    )


def _sam() -> Any:
    encoder = _models().ViTDetBackbone(
        hidden_size=16,
        num_layers=4,
        intermediate_dim=64,
        num_heads=4,
        global_attention_layer_indices=[1, 3],
        patch_size=16,
        num_output_channels=32,
        window_size=2,
        image_shape=(128, 128, 3),
    )
    prompts = _layers().SAMPromptEncoder(
        hidden_size=32, image_embedding_size=(8, 8), input_image_size=(128, 128), mask_in_channels=16
    )
    decoder = _layers().SAMMaskDecoder(
        num_layers=2,
        hidden_size=32,
        intermediate_dim=32,
        num_heads=8,
        embedding_dim=32,
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=8,
    )
    return _models().SAMBackbone(image_encoder=encoder, prompt_encoder=prompts, mask_decoder=decoder)


def _sam3() -> Any:
    layers, image = _layers(), (28, 28, 3)
    sizes = {"num_layers": 2, "hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2}
    return _models().SAM3PromptableConceptBackbone(
        vision_encoder=layers.SAM3VisionEncoder(
            image_shape=image,
            patch_size=14,
            fpn_hidden_dim=16,
            fpn_scale_factors=[4.0, 2.0, 1.0, 0.5],
            pretrain_image_shape=(42, 42, 3),
            window_size=2,
            global_attn_indexes=[1, 2],
            **sizes,
        ),
        text_encoder=layers.SAM3TextEncoder(vocabulary_size=32, embedding_dim=16, **sizes),
        geometry_encoder=layers.SAM3GeometryEncoder(roi_size=7, **sizes),
        detr_encoder=layers.SAM3DetrEncoder(**sizes),
        detr_decoder=layers.SAM3DetrDecoder(image_shape=image, patch_size=14, num_queries=8, **sizes),
        mask_decoder=layers.SAM3MaskDecoder(num_upsampling_stages=3, hidden_dim=16, num_heads=2),
    )


def _classifier(name: str, **changes: Any) -> Callable[[], Any]:
    def build() -> Any:
        backbone = getattr(_models(), f"{name}Backbone")(**IMAGES[f"{name}Backbone"])
        return getattr(_models(), f"{name}ImageClassifier")(backbone=backbone, num_classes=10, **changes)

    return build


def _vae() -> Any:
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone

    filters, blocks = [32] * 4, [1] * 4
    return VAEBackbone(filters, blocks, filters, blocks, sampler_method="mode", name="vae")


IMAGE = {"": (64, 64, 3)}
LARGE = {"": (256, 256, 3)}
SAM = {"points": (2, 2), "labels": (2,), "boxes": (1, 2, 2), "masks": (1, 32, 32, 1)}
SAM3 = {"token_ids": (12,), "padding_mask": (12,), "boxes": (2, 5), "box_labels": (2,)}


def _direct(name: str) -> Callable[[], Any]:
    return lambda: getattr(_models(), name)(**IMAGES[name])


def _task(name: str, backbone: Callable[[], Any], *args: Any, **kwargs: Any) -> Callable[[], Any]:
    return lambda: getattr(_models(), name)(backbone(), *args, **kwargs)


VISION = {
    **{name: Entry(_direct(name), IMAGE) for name in IMAGES},
    "BASNetBackbone": Entry(_basnet, IMAGE),
    "DeepLabV3Backbone": Entry(_deeplab, IMAGE),
    "DepthAnythingBackbone": Entry(_depth_anything, IMAGE),
    "DFineBackbone": Entry(_d_fine, IMAGE),
    "RetinaNetBackbone": Entry(_retinanet, LARGE),
    "SAMBackbone": Entry(_sam, SAM),
    "SAM3PromptableConceptBackbone": Entry(_sam3, SAM3, {"token_ids": 32}),
    "SegFormerBackbone": Entry(_segformer, IMAGE),
    "VAEBackbone": Entry(_vae, IMAGE),
}
CLASSIFIERS = ("CSPNet", "DeiT", "DenseNet", "EfficientNet", "MiT", "MobileNet", "ResNet", "SwinTransformer", "ViT")
TASKS = {
    **{f"{name}ImageClassifier": Entry(_classifier(name), IMAGE) for name in (*CLASSIFIERS, "VGG", "Xception")},
    "HGNetV2ImageClassifier": Entry(_classifier("HGNetV2", preprocessor=None), IMAGE),
    "MobileNetV5ImageClassifier": Entry(_classifier("MobileNetV5"), IMAGE),
    "BASNetImageSegmenter": Entry(_task("BASNetImageSegmenter", _basnet), IMAGE),
    "DeepLabV3ImageSegmenter": Entry(_task("DeepLabV3ImageSegmenter", _deeplab, 2, activation="softmax"), IMAGE),
    "DepthAnythingDepthEstimator": Entry(
        _task("DepthAnythingDepthEstimator", _depth_anything, "metric", max_depth=10.0), IMAGE
    ),
    "DFineObjectDetector": Entry(_task("DFineObjectDetector", _d_fine, 4), IMAGE),
    "RetinaNetObjectDetector": Entry(_retinanet_detector, LARGE),
    "SAMImageSegmenter": Entry(_task("SAMImageSegmenter", _sam), SAM),
    "SegFormerImageSegmenter": Entry(_task("SegFormerImageSegmenter", _segformer, 4), IMAGE),
}

TEXT: dict[str, Any] = {
    "vocabulary_size": 50,
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 32,
    "intermediate_dim": 64,
}
POSITIONS = {**TEXT, "max_sequence_length": 16}
GROUPED: dict[str, Any] = {
    "vocabulary_size": 50,
    "num_layers": 2,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "hidden_dim": 32,
    "intermediate_dim": 64,
}
GEMMA = {**GROUPED, "num_key_value_heads": 1, "head_dim": 8}
EXPERTS: dict[str, Any] = {**GROUPED, "num_experts": 4, "top_k": 2}
QWEN_EXPERTS: dict[str, Any] = {
    **EXPERTS,
    "moe_intermediate_dim": 16,
    "norm_top_k_prob": True,
    "decoder_sparse_step": 1,
    "router_aux_loss_coefficient": 0.01,
}
LINEAR: dict[str, Any] = {
    "num_layers": 4,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "vocabulary_size": 50,
    "head_dim": 8,
    "hidden_dim": 32,
    "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
    "partial_rotary_factor": 0.25,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "linear_conv_kernel_dim": 4,
}
SMOL: dict[str, Any] = {
    "vocabulary_size": 50,
    "hidden_dim": 32,
    "intermediate_dim": 64,
    "num_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "rope_layer_enabled_list": [True, False],
    "layer_types": ["attention", "attention"],
    "mlp_bias": False,
    "layer_norm_epsilon": 1e-5,
    "max_position_embeddings": 128,
    "rope_theta": 10000.0,
    "partial_rotary_factor": 1.0,
}
T5_GEMMA: dict[str, Any] = {
    "vocabulary_size": 50,
    **{
        f"{side}_{key}": value
        for side in ("encoder", "decoder")
        for key, value in {
            "hidden_dim": 32,
            "intermediate_dim": 64,
            "num_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "layer_types": ["sliding_attention", "full_attention"],
        }.items()
    },
    "dropout_rate": 0.1,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "query_pre_attn_scalar": 1.0,
    "attention_bias": False,
    "hidden_activation": "gelu_approximate",
    "sliding_window": 4,
    "cross_attention_hidden_size": 32,
    "attn_logit_softcapping": 50.0,
    "rope_max_wavelength": 10000.0,
    "initializer_range": 0.04,
    "attention_dropout": 0.1,
}
TEXTS: dict[str, dict[str, Any]] = {
    "AlbertBackbone": {**POSITIONS, "embedding_dim": 16},
    "BartBackbone": POSITIONS,
    "BertBackbone": POSITIONS,
    "BloomBackbone": TEXT,
    "DebertaV3Backbone": POSITIONS,
    "DistilBertBackbone": POSITIONS,
    "ESM2Backbone": TEXT,
    "ESMBackbone": TEXT,
    "EdRecBackbone": {
        "vocab_size": 50,
        "num_layers_enc": 2,
        "num_layers_dec": 2,
        "num_heads": 4,
        "hidden_dim": 32,
        "intermediate_dim": 64,
    },
    "ElectraBackbone": {
        "vocab_size": 50,
        "num_layers": 2,
        "num_heads": 4,
        "hidden_dim": 32,
        "embedding_dim": 32,
        "intermediate_dim": 64,
        "max_sequence_length": 16,
    },
    "FNetBackbone": {
        "vocabulary_size": 50,
        "num_layers": 2,
        "hidden_dim": 32,
        "intermediate_dim": 64,
        "max_sequence_length": 16,
    },
    "FalconBackbone": {
        "vocabulary_size": 50,
        "num_layers": 2,
        "num_attention_heads": 4,
        "hidden_dim": 32,
        "intermediate_dim": 64,
    },
    "GPT2Backbone": POSITIONS,
    "GPTNeoXBackbone": POSITIONS,
    "Gemma3Backbone": {
        **GEMMA,
        "image_size": 16,
        "use_query_key_norm": True,
        "use_post_ffw_norm": True,
        "use_post_attention_norm": True,
        "use_sliding_window_attention": True,
        "sliding_window_size": 4,
    },
    "Gemma3nBackbone": {
        "text_vocab_size": 50,
        "text_hidden_size": 16,
        "num_hidden_layers": 1,
        "pad_token_id": 0,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "intermediate_size": [32],
        "hidden_activation": "gelu_approximate",
        "layer_types": ["full_attention"],
        "sliding_window": 4,
        "rope_theta": 10000.0,
        "max_position_embeddings": 16,
        "vocab_size_per_layer_input": 50,
        "hidden_size_per_layer_input": 4,
        "altup_num_inputs": 2,
        "laurel_rank": 1,
    },
    "Gemma4Backbone": {**GEMMA, "image_size": 16, "use_sliding_window_attention": True, "sliding_window_size": 4},
    "GemmaBackbone": GEMMA,
    "GptOssBackbone": {**EXPERTS, "sliding_window": 4},
    "Llama3Backbone": GROUPED,
    "LlamaBackbone": GROUPED,
    "MistralBackbone": {**GROUPED, "sliding_window": 4},
    "MixtralBackbone": {**EXPERTS, "sliding_window": 4},
    "MoonshineBackbone": {
        "vocabulary_size": 50,
        "filter_dim": 32,
        "encoder_num_layers": 2,
        "decoder_num_layers": 2,
        "hidden_dim": 32,
        "intermediate_dim": 64,
        "encoder_num_heads": 4,
        "decoder_num_heads": 4,
        "partial_rotary_factor": 0.62,
    },
    "OPTBackbone": POSITIONS,
    "PaliGemmaBackbone": {
        **GEMMA,
        "image_size": 16,
        "vit_patch_size": 4,
        "vit_num_layers": 2,
        "vit_num_heads": 2,
        "vit_hidden_dim": 16,
        "vit_intermediate_dim": 32,
    },
    "Phi3Backbone": GROUPED,
    "Qwen2Backbone": GROUPED,
    "Qwen3Backbone": {**GROUPED, "head_dim": 8},
    "Qwen3MoeBackbone": {**QWEN_EXPERTS, "head_dim": 8},
    "Qwen3_5Backbone": {**LINEAR, "intermediate_dim": 64},
    "Qwen3_5MoeBackbone": {
        **LINEAR,
        "moe_intermediate_dim": 16,
        "shared_expert_intermediate_size": 16,
        "num_experts": 4,
        "top_k": 2,
    },
    "QwenBackbone": GROUPED,
    "QwenMoeBackbone": {**QWEN_EXPERTS, "shared_expert_intermediate_dim": 32},
    "RWKV7Backbone": {
        "vocabulary_size": 50,
        "hidden_size": 16,
        "num_layers": 2,
        "head_size": 4,
        "intermediate_dim": 32,
        "gate_lora": 32,
        "mv_lora": 16,
        "aaa_lora": 16,
        "decay_lora": 16,
    },
    "RobertaBackbone": POSITIONS,
    "RoformerV2Backbone": {**TEXT, "head_size": 8},
    "SmolLM3Backbone": SMOL,
    "SmolLMBackbone": SMOL,
    "T5Backbone": TEXT,
    "T5Gemma2Backbone": {**T5_GEMMA, "use_query_key_norm": True},
    "T5GemmaBackbone": T5_GEMMA,
    "WhisperBackbone": {**TEXT, "max_encoder_sequence_length": 16, "max_decoder_sequence_length": 16},
    "XLMRobertaBackbone": POSITIONS,
    "XLNetBackbone": TEXT,
}
LENGTH = 12


def _clip(name: str, text_length: int) -> Callable[[], Any]:
    def build() -> Any:
        vision = getattr(_models(), f"{name}VisionEncoder")(16, 64, 2, 2, 128, name="vision_encoder")
        text = getattr(_models(), f"{name}TextEncoder")(64, 64, 64, 2, 2, 128, name="text_encoder")
        projection = {} if name == "SigLIP" else {"projection_dim": 64}
        return getattr(_models(), f"{name}Backbone")(vision_encoder=vision, text_encoder=text, **projection)

    return build


def _stable_diffusion() -> Any:
    text = _models().CLIPTextEncoder
    return _models().StableDiffusion3Backbone(
        mmdit_patch_size=2,
        mmdit_hidden_dim=32,
        mmdit_num_layers=2,
        mmdit_num_heads=2,
        mmdit_position_size=192,
        mmdit_qk_norm=None,
        mmdit_dual_attention_indices=None,
        vae=_vae(),
        clip_l=text(20, 32, 32, 2, 2, 64, "quick_gelu", -2, name="clip_l"),
        clip_g=text(20, 64, 64, 2, 2, 128, "gelu", -2, name="clip_g"),
        image_shape=(64, 64, 3),
    )


def _flux() -> Any:
    return _models().FluxBackbone(
        input_channels=64,
        hidden_size=256,
        mlp_ratio=2.0,
        num_heads=4,
        depth=2,
        depth_single_blocks=2,
        axes_dim=[8, 28, 28],
        theta=10_000,
        use_bias=True,
        guidance_embed=True,
        image_shape=(16, 64),
        text_shape=(16, 64),
        image_ids_shape=(16, 3),
        text_ids_shape=(16, 3),
        y_shape=(64,),
    )


def _parseq() -> Any:
    encoder = _models().ViTBackbone(
        image_shape=(32, 128, 3),
        patch_size=(4, 8),
        num_layers=2,
        num_heads=2,
        hidden_dim=64,
        mlp_dim=256,
        use_class_token=False,
        name="image_encoder",
    )
    return _models().PARSeqBackbone(
        image_encoder=encoder,
        vocabulary_size=97,
        max_label_length=25,
        decoder_hidden_dim=64,
        num_decoder_layers=1,
        num_decoder_heads=2,
        decoder_mlp_dim=256,
        dropout_rate=0.0,
        attention_dropout=0.0,
    )


def _blip2() -> Any:
    from keras_hub.src.models.blip2.blip2_custom_opt import BLIP2CustomOPT
    from keras_hub.src.models.blip2.blip2_qformer import BLIP2QFormer

    sizes = {"num_layers": 2, "num_heads": 2}
    vision = _models().BLIP2VisionEncoder(
        image_size=32,
        patch_size=4,
        hidden_dim=16,
        intermediate_dim=32,
        use_patch_bias=True,
        use_class_token=True,
        use_mha_bias=True,
        use_mlp_bias=True,
        dropout_rate=0.0,
        layer_norm_epsilon=1e-6,
        initializer_range=0.02,
        **sizes,
    )
    former = BLIP2QFormer(
        num_query_tokens=2,
        hidden_dim=16,
        intermediate_dim=32,
        vision_dim=16,
        cross_attention_frequency=1,
        dropout=0.0,
        layer_norm_epsilon=1e-6,
        **sizes,
    )
    language = BLIP2CustomOPT(
        vocabulary_size=50,
        hidden_dim=16,
        intermediate_dim=32,
        num_query_tokens=2,
        qformer_hidden_dim=16,
        max_sequence_length=20,
        language_projection=None,
        dropout=0.0,
        **sizes,
    )
    return _models().BLIP2Backbone(vision_encoder=vision, qformer=former, language_model=language)


def _gemma3_vision() -> Any:
    encoder = _models().Gemma3VisionEncoder(
        image_size=16,
        patch_size=4,
        pool_size=2,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        output_dim=32,
    )
    return _models().Gemma3Backbone(**TEXTS["Gemma3Backbone"], vision_encoder=encoder)


def _gemma4_vision() -> Any:
    encoder = _models().Gemma4VisionEncoder(
        image_size=16,
        patch_size=4,
        pool_size=2,
        num_layers=2,
        num_heads=2,
        head_dim=8,
        num_key_value_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        output_dim=32,
    )
    return _models().Gemma4Backbone(**TEXTS["Gemma4Backbone"], vision_encoder=encoder)


SEQUENCES: dict[str, tuple[int, ...]] = {
    **{
        f"{side}{name}": (LENGTH,)
        for side in ("", "encoder_", "decoder_")
        for name in ("token_ids", "padding_mask", "segment_ids", "position_ids", "response_mask")
    },
    "encoder_features": (LENGTH, 80),
    "vision_mask": (LENGTH,),
    "vision_indices": (4,),
    "images": (1, 16, 16, 3),
    "pixel_values": (1, 16, 48),
    "pixel_position_ids": (1, 16, 2),
}
MASK = [1] * (LENGTH - 2) + [0] * 2
TOKENS: dict[str, Any] = {
    **{f"{side}token_ids": 20 for side in ("", "encoder_", "decoder_")},
    **{f"{side}padding_mask": MASK for side in ("", "encoder_", "decoder_")},
    "position_ids": list(range(LENGTH)),
    "vision_mask": [0, 0, *[1] * 4, *[0] * (LENGTH - 6)],
    "vision_indices": [2, 3, 4, 5],
    "pixel_position_ids": [[[row, column] for row in range(4) for column in range(4)]],
    "num_steps": 5,
}
SPEECH = {
    **SEQUENCES,
    "encoder_input_values": (4000, 1),
    "encoder_padding_mask": (4000,),
}


def _text(name: str) -> Callable[[], Any]:
    return lambda: getattr(_models(), name)(**TEXTS[name])


LANGUAGE = {
    **{name: Entry(_text(name), SEQUENCES, TOKENS) for name in TEXTS},
    "PaliGemmaBackbone": Entry(_text("PaliGemmaBackbone"), {**SEQUENCES, "images": (16, 16, 3)}, TOKENS),
    "MoonshineBackbone": Entry(
        _text("MoonshineBackbone"), SPEECH, {**TOKENS, "encoder_padding_mask": np.arange(4000) < 3000}
    ),
    "BLIP2Backbone": Entry(_blip2, {**SEQUENCES, "images": (32, 32, 3)}, TOKENS),
    "CLIPBackbone": Entry(_clip("CLIP", 77), {**SEQUENCES, "images": (224, 224, 3)}, {"token_ids": 64}),
    "MetaCLIP2Backbone": Entry(_clip("MetaCLIP2", 77), {**SEQUENCES, "images": (224, 224, 3)}, {"token_ids": 64}),
    "SigLIPBackbone": Entry(_clip("SigLIP", 64), {"token_ids": (64,), "images": (224, 224, 3)}, {"token_ids": 64}),
    "FluxBackbone": Entry(_flux),
    "Gemma3Backbone (vision)": Entry(_gemma3_vision, SEQUENCES, TOKENS),
    "Gemma4Backbone (vision)": Entry(_gemma4_vision, SEQUENCES, TOKENS),
    "PARSeqBackbone": Entry(_parseq, {"token_ids": (25,), "padding_mask": (25,)}, {"token_ids": 97}),
    "StableDiffusion3Backbone": Entry(
        _stable_diffusion,
        {f"clip_{side}_{kind}ids": (LENGTH,) for side in "lg" for kind in ("token_", "negative_token_")},
        {"num_steps": 5},
    ),
}
MODELS: dict[str, Entry] = {**VISION, **TASKS, **dict(sorted(LANGUAGE.items()))}
