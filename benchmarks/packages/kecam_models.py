"""A model of each family of keras_cv_attention_models, with random weights: `tf_keras`, with layers of their own.

https://github.com/leondgarse/keras_cv_attention_models
"""

from __future__ import annotations

import importlib
from typing import Any

from benchmarks.packages.entry import Entry

INSTALL = "pip install --no-deps keras-cv-attention-models tf_keras tqdm pillow"
ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1"}


def _build(family: str, name: str) -> Any:
    from converters.loading import in_keras_3

    module = getattr(importlib.import_module("keras_cv_attention_models"), family)
    return in_keras_3(getattr(module, name)(pretrained=None))


NAMES = (
    "aotnet.AotNet50", "beit.BeitBasePatch16", "botnet.BotNet26T", "caformer.CAFormerS18", "cmt.CMTTiny",
    "coat.CoaTLiteTiny", "coatnet.CoAtNet0", "convnext.ConvNeXtV2Atto", "cotnet.CotNet50", "cspnext.CSPNeXtTiny",
    "davit.DaViT_T", "dinov2.DINOv2_ViT_Small14", "edgenext.EdgeNeXt_XX_Small", "efficientdet.EfficientDetLite0",
    "efficientformer.EfficientFormerV2S0", "efficientnet.EfficientNetV1B0", "efficientvit_b.EfficientViT_B0",
    "efficientvit_m.EfficientViT_M0", "eva02.EVA02TinyPatch14", "fasternet.FasterNetT0", "fastervit.FasterViT0",
    "fastvit.FastViT_T8", "fbnetv3.FBNetV3B", "flexivit.FlexiViTSmall", "gated_mlp.GMLPTiny16", "gcvit.GCViT_XXTiny",
    "ghostnet.GhostNet_100", "ghostnetv2.GhostNetV2_100", "gpvit.GPViT_L1", "halonet.HaloNet26T", "hiera.HieraTiny",
    "hornet.HorNetTiny", "iformer.IFormerSmall", "inceptionnext.InceptionNeXtTiny", "lcnet.LCNet050",
    "levit.LeViT128S", "maxvit.MaxViT_Tiny", "mlp_mixer.MLPMixerS32", "mobilenetv3.MobileNetV3Small075",
    "mobilevit.MobileViT_XXS", "mobilevit.MobileViT_V2_050", "moganet.MogaNetXtiny", "nat.NAT_Mini", "nfnets.NFNetF0",
    "pvt.PVT_V2B0", "regnet.RegNetY040", "repvit.RepViT_M09", "res_mlp.ResMLP12", "resnest.ResNest50",
    "resnext.ResNeXt50", "swin_transformer_v2.SwinTransformerV2Tiny_ns", "tinynet.TinyNetE", "tinyvit.TinyViT_5M",
    "uniformer.UniformerSmall32", "vanillanet.VanillaNet5", "vit.ViTTinyPatch16", "volo.VOLO_d1", "wave_mlp.WaveMLP_T",
    "yolo_nas.YOLO_NAS_S", "yolor.YOLOR_CSP", "yolov7.YOLOV7_Tiny", "yolov8.YOLOV8_N", "yolox.YOLOXNano",
)  # fmt: skip

MODELS = {name: Entry(lambda name=name: _build(*name.split("."))) for name in NAMES}
