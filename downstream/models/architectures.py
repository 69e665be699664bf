"""The architectures: each built from its configuration, with random weights, small, and as deep as it is told to be.

The table can be read without PyTorch and the libraries, which only the functions that build a model import: so the
check of the page knows all that had to be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

Inputs = dict[str, Any]

# All models of transformers have these sizes.
HIDDEN, HEADS, VOCABULARY, LENGTH = 32, 4, 64, 8
# Stock compiles each in seconds at this number of layers.
SHALLOW: Final = 2
# The name under which transformers knows the attention of ops.py.
ATTENTION = "downstream"
# How far a compiled result may be from eager's, which adds numbers up in another order.
CLOSE: Final = {"rtol": 1e-3, "atol": 1e-4}


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        name: As its page has it.
        library: The package that has it.
        build: Builds a model with that many layers, and returns it with its inputs.
        real: The number that the model named in `model` has.
        model: A published model of that depth.
        adds: Whether a residual sum that no norm takes is an op of its own.
    """

    name: str
    library: str
    build: Callable[[int], tuple[torch.nn.Module, Inputs]]
    real: int
    model: str
    adds: bool = False


def tokens() -> Any:
    import torch

    return torch.arange(2 * LENGTH).reshape(2, LENGTH) % VOCABULARY


def noise(*shape: int) -> Any:
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def numbers(values: Any) -> Any:
    import torch

    return torch.tensor(values)


def image() -> Any:
    return noise(2, 3, 32, 32)


def of_transformers(config: str, model: str, inputs: Callable[[], Inputs] | None = None, **fixed: Any) -> Any:
    """Return a function that builds a model of transformers; a value may be a function of the number of layers."""

    def build(layers: int) -> tuple[torch.nn.Module, Inputs]:
        import transformers

        common = {
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_hidden_layers": layers,
            "num_attention_heads": HEADS,
            "num_key_value_heads": 2,
            "vocab_size": VOCABULARY,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
        values = {name: value(layers) if callable(value) else value for name, value in fixed.items()}
        values = {name: value for name, value in (common | values).items() if value is not ...}
        made = getattr(transformers, config)(**values)
        made._attn_implementation = ATTENTION
        made._experts_implementation = "eager"
        made.use_cache = False
        for inner in vars(made).values():
            if isinstance(inner, transformers.PretrainedConfig):
                inner._attn_implementation = ATTENTION
                inner.use_cache = False
        given = inputs() if inputs else {"input_ids": tokens()}
        return getattr(transformers, model)(made), given

    return build


def of_torchvision(make: Callable[[int, Any], torch.nn.Module], *, double: bool = False) -> Any:
    """Return a function that builds a model of torchvision from the number of layers, maybe in double precision."""

    def build(layers: int) -> tuple[torch.nn.Module, Inputs]:
        import torchvision

        model, x = named(make(layers, torchvision.models)), image()
        return (model.double(), {"x": x.double()}) if double else (model, {"x": x})

    return build


def of_timm(name: str, family: str, **fixed: Any) -> Any:
    """Return a function that builds a class of a module of timm; a value may be a function of the layers."""

    def build(layers: int) -> tuple[torch.nn.Module, Inputs]:
        import importlib

        values = {key: value(layers) if callable(value) else value for key, value in fixed.items()}
        make = getattr(importlib.import_module(f"timm.models.{family}"), name)
        return named(make(num_classes=8, **values)), {"x": image()}

    return build


def of_diffusers(name: str, inputs: Callable[[], Inputs], **fixed: Any) -> Any:
    """Return a function that builds a model of diffusers; a value may be a function of the number of layers."""

    def build(layers: int) -> tuple[torch.nn.Module, Inputs]:
        import diffusers

        values = {key: value(layers) if callable(value) else value for key, value in fixed.items()}
        return getattr(diffusers, name)(**values), inputs()

    return build


def named(model: torch.nn.Module) -> torch.nn.Module:
    """Let a model that takes one tensor be called with its name."""
    import torch

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Any) -> Any:
            return self.model(x)

    return Named()


def same(layers: int) -> int:
    return layers


def each(value: Any) -> Callable[[int], list[Any]]:
    return lambda layers: [value] * layers


def after(dense: int, first: Any, others: Any) -> Callable[[int], list[Any]]:
    return lambda layers: [first if layer < dense else others for layer in range(layers)]


def pictures() -> Inputs:
    return {"pixel_values": image()}


def both_tokens() -> Inputs:
    return {"input_ids": tokens(), "decoder_input_ids": tokens()}


PLAIN: Final = {"num_key_value_heads": ...}
VISION: Final = {
    "image_size": 32,
    "patch_size": 8,
    **PLAIN,
    "vocab_size": ...,
    "max_position_embeddings": ...,
}
EXPERTS: Final = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
# How DeepSeek-V3 shrinks its keys and values.
LATENT: Final = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}


def two_towers(config: str, model: str) -> Any:
    """Return a function that builds a model with one encoder for text and one for pictures."""

    def build(layers: int) -> tuple[torch.nn.Module, Inputs]:
        import transformers

        sizes = {
            "hidden_size": HIDDEN,
            "intermediate_size": 64,
            "num_hidden_layers": layers,
            "num_attention_heads": HEADS,
        }
        made = getattr(transformers, config)(
            text_config={
                **sizes,
                "vocab_size": VOCABULARY,
                "max_position_embeddings": 64,
                "eos_token_id": 2,
                "projection_size": HIDDEN,
            },
            vision_config={**sizes, "image_size": 32, "patch_size": 8},
            projection_dim=HIDDEN,
        )
        for one in (made, made.text_config, made.vision_config):
            one._attn_implementation = ATTENTION
        return getattr(transformers, model)(made), {"input_ids": tokens(), **pictures()}

    return build


def encoder_decoder(**sizes: Any) -> dict[str, Any]:
    return {
        **PLAIN,
        "d_model": HIDDEN,
        "encoder_layers": same,
        "decoder_layers": same,
        "encoder_attention_heads": HEADS,
        "decoder_attention_heads": HEADS,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "decoder_start_token_id": 1,
        **sizes,
    }


def dit() -> Inputs:
    return {
        "hidden_states": noise(2, 4, 8, 8),
        "timestep": numbers([1, 2]),
        "class_labels": numbers([0, 1]),
    }


def sd3() -> Inputs:
    return {
        "hidden_states": noise(2, 4, 8, 8),
        "encoder_hidden_states": noise(2, 6, 32),
        "pooled_projections": noise(2, 16),
        "timestep": numbers([1, 2]),
    }


def flux() -> Inputs:
    return {
        "hidden_states": noise(1, 16, 4),
        "encoder_hidden_states": noise(1, 6, 32),
        "pooled_projections": noise(1, 16),
        "timestep": numbers([1.0]),
        "img_ids": numbers([[0.0] * 3] * 16),
        "txt_ids": numbers([[0.0] * 3] * 6),
    }


def prior() -> Inputs:
    return {
        "hidden_states": noise(2, HIDDEN),
        "timestep": numbers(3),
        "proj_embedding": noise(2, HIDDEN),
        "encoder_hidden_states": noise(2, 6, HIDDEN),
    }


def unet() -> Inputs:
    return {
        "sample": noise(2, 4, 8, 8),
        "timestep": numbers(3),
        "encoder_hidden_states": noise(2, 6, 32),
    }


def resnet(layers: int, models: Any) -> torch.nn.Module:
    return models.ResNet(models.resnet.Bottleneck, [1, 1, layers, 1], num_classes=8, width_per_group=4)


def vision_transformer(layers: int, models: Any) -> torch.nn.Module:
    return models.VisionTransformer(32, 8, layers, HEADS, HIDDEN, 64, num_classes=8)


def swin(layers: int, models: Any) -> torch.nn.Module:
    return models.SwinTransformer(
        [4, 4], 16, [2, layers], [2, 2], [2, 2], num_classes=8, stochastic_depth_prob=0.0
    )


def convnext(layers: int, models: Any) -> torch.nn.Module:
    setting = models.convnext.CNBlockConfig
    return models.ConvNeXt([setting(16, 32, 1), setting(32, None, layers)], num_classes=8)


def regnet(layers: int, models: Any) -> torch.nn.Module:
    parameters = models.regnet.BlockParams([1, layers], [8, 16], [8, 8], [1.0, 1.0], [2, 2])
    return models.RegNet(parameters, num_classes=8)


def mobilenet(layers: int, models: Any) -> torch.nn.Module:
    setting = [
        models.mobilenetv3.InvertedResidualConfig(16, 3, 32, 16, True, "HS", 1, 1, 1.0) for _ in range(layers)
    ]
    return models.MobileNetV3(setting, last_channel=32, num_classes=8)


TRANSFORMERS: Final = (
    ("Llama", of_transformers("LlamaConfig", "LlamaForCausalLM"), 32, "Llama 3 8B"),
    ("Gemma 2", of_transformers("Gemma2Config", "Gemma2ForCausalLM", head_dim=8), 42, "Gemma 2 9B"),
    ("Qwen3", of_transformers("Qwen3Config", "Qwen3ForCausalLM", head_dim=8), 64, "Qwen3 32B"),
    ("Phi-3", of_transformers("Phi3Config", "Phi3ForCausalLM"), 40, "Phi-3 medium"),
    ("OLMo 2", of_transformers("Olmo2Config", "Olmo2ForCausalLM"), 40, "OLMo 2 13B"),
    (
        "Qwen2-MoE",
        of_transformers(
            "Qwen2MoeConfig",
            "Qwen2MoeForCausalLM",
            **EXPERTS,
            shared_expert_intermediate_size=32,
            mlp_only_layers=lambda n: [0],
        ),
        24,
        "Qwen1.5-MoE-A2.7B",
    ),
    (
        "Qwen3-MoE",
        of_transformers("Qwen3MoeConfig", "Qwen3MoeForCausalLM", head_dim=8, **EXPERTS),
        48,
        "Qwen3 30B-A3B",
    ),
    (
        "Mixtral",
        of_transformers("MixtralConfig", "MixtralForCausalLM", num_local_experts=4),
        32,
        "Mixtral 8x7B",
    ),
    (
        "DeepSeek-V3",
        of_transformers(
            "DeepseekV3Config",
            "DeepseekV3ForCausalLM",
            **LATENT,
            num_key_value_heads=HEADS,
            moe_intermediate_size=16,
            n_routed_experts=4,
            num_experts_per_tok=2,
            n_group=2,
            topk_group=1,
            first_k_dense_replace=lambda n: min(3, n - 1),
        ),
        61,
        "DeepSeek-V3",
    ),
    (
        "GLM-4 MoE",
        of_transformers(
            "Glm4MoeConfig",
            "Glm4MoeForCausalLM",
            moe_intermediate_size=16,
            n_routed_experts=4,
            num_experts_per_tok=2,
            first_k_dense_replace=1,
            head_dim=8,
        ),
        46,
        "GLM-4.5 Air",
    ),
    (
        "GPT-OSS",
        of_transformers("GptOssConfig", "GptOssForCausalLM", head_dim=8, num_local_experts=4),
        36,
        "GPT-OSS 120B",
    ),
    (
        "Mamba",
        of_transformers(
            "MambaConfig",
            "MambaForCausalLM",
            state_size=4,
            num_attention_heads=...,
            num_key_value_heads=...,
            intermediate_size=64,
            max_position_embeddings=...,
        ),
        64,
        "Mamba 2.8B",
    ),
    (
        "GPT-2",
        of_transformers(
            "GPT2Config",
            "GPT2LMHeadModel",
            n_embd=HIDDEN,
            n_layer=same,
            n_head=HEADS,
            n_positions=64,
            **PLAIN,
            hidden_size=...,
            num_hidden_layers=...,
            num_attention_heads=...,
            intermediate_size=...,
            max_position_embeddings=...,
        ),
        48,
        "GPT-2 XL",
    ),
    (
        "OPT",
        of_transformers(
            "OPTConfig",
            "OPTForCausalLM",
            ffn_dim=64,
            word_embed_proj_dim=HIDDEN,
            **PLAIN,
            intermediate_size=...,
        ),
        40,
        "OPT 13B",
    ),
    ("BERT", of_transformers("BertConfig", "BertForMaskedLM", **PLAIN), 24, "BERT large"),
    (
        "ModernBERT",
        of_transformers("ModernBertConfig", "ModernBertForMaskedLM", **PLAIN, cls_token_id=1, sep_token_id=2),
        28,
        "ModernBERT large",
    ),
    (
        "T5",
        of_transformers(
            "T5Config",
            "T5ForConditionalGeneration",
            both_tokens,
            d_model=HIDDEN,
            d_kv=8,
            d_ff=64,
            num_layers=same,
            num_heads=HEADS,
            **PLAIN,
            hidden_size=...,
            num_hidden_layers=...,
            num_attention_heads=...,
            intermediate_size=...,
            max_position_embeddings=...,
        ),
        24,
        "T5 large",
    ),
    (
        "BART",
        of_transformers(
            "BartConfig",
            "BartForConditionalGeneration",
            both_tokens,
            **encoder_decoder(
                hidden_size=..., num_hidden_layers=..., num_attention_heads=..., intermediate_size=...
            ),
        ),
        12,
        "BART large",
    ),
    (
        "Whisper",
        of_transformers(
            "WhisperConfig",
            "WhisperForConditionalGeneration",
            lambda: {"input_features": noise(2, 8, 16), "decoder_input_ids": tokens()},
            **encoder_decoder(
                num_mel_bins=8,
                max_source_positions=8,
                max_target_positions=64,
                hidden_size=...,
                num_hidden_layers=...,
                num_attention_heads=...,
                intermediate_size=...,
                max_position_embeddings=...,
            ),
        ),
        32,
        "Whisper large",
    ),
    ("CLIP", two_towers("CLIPConfig", "CLIPModel"), 24, "CLIP ViT-L/14"),
    ("SigLIP", two_towers("SiglipConfig", "SiglipModel"), 27, "SigLIP so400m"),
    ("ViT", of_transformers("ViTConfig", "ViTForImageClassification", pictures, **VISION), 24, "ViT-L/16"),
    (
        "DINOv2",
        of_transformers(
            "Dinov2Config", "Dinov2ForImageClassification", pictures, **VISION, intermediate_size=...
        ),
        40,
        "DINOv2 giant",
    ),
    (
        "Wav2Vec2",
        of_transformers(
            "Wav2Vec2Config",
            "Wav2Vec2ForCTC",
            lambda: {"input_values": noise(2, 64)},
            **PLAIN,
            conv_dim=(8, 8),
            conv_stride=(4, 2),
            conv_kernel=(8, 3),
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            max_position_embeddings=...,
            layerdrop=0.0,
        ),
        24,
        "Wav2Vec2 large",
    ),
)
TORCHVISION: Final = (
    # Its sums are long: what rounding makes of them in another order is on the other side of a ReLU here and there.
    ("ResNet", of_torchvision(resnet, double=True), 36, "ResNet-152"),
    ("ViT (torchvision)", of_torchvision(vision_transformer), 24, "ViT-L/16"),
    ("Swin", of_torchvision(swin), 18, "Swin-B"),
    ("ConvNeXt", of_torchvision(convnext), 27, "ConvNeXt-L"),
    ("RegNet", of_torchvision(regnet), 22, "RegNetX-32GF"),
    ("MobileNetV3", of_torchvision(mobilenet), 15, "MobileNetV3 large"),
)
SMALL: Final = {"img_size": 32, "patch_size": 8, "embed_dim": HIDDEN, "depth": same}
TIMM: Final = (
    (
        "DeiT III",
        of_timm("VisionTransformer", "vision_transformer", **SMALL, num_heads=HEADS, init_values=1e-4),
        32,
        "DeiT III huge",
    ),
    (
        "MLP-Mixer",
        of_timm("MlpMixer", "mlp_mixer", img_size=32, patch_size=8, embed_dim=HIDDEN, num_blocks=same),
        24,
        "MLP-Mixer L/16",
    ),
    ("EVA", of_timm("Eva", "eva", **SMALL, num_heads=HEADS, use_rot_pos_emb=True), 40, "EVA giant"),
    ("BEiT", of_timm("Beit", "beit", **SMALL, num_heads=HEADS), 24, "BEiT large"),
    ("CaiT", of_timm("Cait", "cait", **SMALL, num_heads=HEADS), 36, "CaiT M36"),
)
DIFFUSERS: Final = (
    (
        "DiT",
        of_diffusers(
            "DiTTransformer2DModel",
            dit,
            num_attention_heads=4,
            attention_head_dim=8,
            in_channels=4,
            num_layers=same,
            sample_size=8,
            norm_num_groups=4,
        ),
        28,
        "DiT-XL/2",
    ),
    (
        "Stable Diffusion 3",
        of_diffusers(
            "SD3Transformer2DModel",
            sd3,
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_layers=same,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=32,
            caption_projection_dim=32,
            pooled_projection_dim=16,
            out_channels=4,
            pos_embed_max_size=8,
        ),
        24,
        "Stable Diffusion 3 medium",
    ),
    (
        "Flux",
        of_diffusers(
            "FluxTransformer2DModel",
            flux,
            patch_size=1,
            in_channels=4,
            num_layers=lambda n: max(1, n // 3),
            num_single_layers=lambda n: n - max(1, n // 3),
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 4, 8),
        ),
        57,
        "Flux.1",
    ),
    (
        "Kandinsky prior",
        of_diffusers(
            "PriorTransformer",
            prior,
            num_attention_heads=4,
            attention_head_dim=8,
            num_layers=same,
            embedding_dim=HIDDEN,
            num_embeddings=6,
        ),
        20,
        "Kandinsky 2.2",
    ),
    (
        "UNet",
        of_diffusers(
            "UNet2DConditionModel",
            unet,
            sample_size=8,
            layers_per_block=same,
            block_out_channels=(16,),
            norm_num_groups=4,
            cross_attention_dim=32,
            attention_head_dim=4,
            down_block_types=("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",),
        ),
        16,
        "Stable Diffusion 1.5",
    ),
)
LIBRARIES: Final = {
    "transformers": TRANSFORMERS,
    "torchvision": TORCHVISION,
    "timm": TIMM,
    "diffusers": DIFFUSERS,
}
# Names those whose sums no norm takes.
ADDS: Final = ("OLMo 2",)
ALL: Final = tuple(
    Architecture(name, library, build, real, model, name in ADDS)
    for library, rows in LIBRARIES.items()
    for name, build, real, model in rows
)
