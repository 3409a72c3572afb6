"""The loaders of a hub folder, each complete in itself: a model card prints the source of its own."""


def load_timm(folder):
    import timm

    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def load_torchvision(folder):
    import json
    from pathlib import Path

    import torch
    import torchvision
    from safetensors.torch import load_file

    config = json.loads(Path(folder, "config.json").read_text())
    weights = load_file(Path(folder, "model.safetensors"))
    net = torchvision.models.get_model(config["architecture"], **config["model_args"])
    head = config["pretrained_cfg"]["classifier"]
    net.set_submodule(head, torch.nn.Linear(*reversed(weights[f"{head}.weight"].shape)))
    net.load_state_dict(weights)
    return net.eval()


def load_squeezenet(folder):
    import json
    from pathlib import Path

    import torch
    import torchvision
    from safetensors.torch import load_file

    config = json.loads(Path(folder, "config.json").read_text())
    weights = load_file(Path(folder, "model.safetensors"))
    net = torchvision.models.get_model(config["architecture"], num_classes=config["num_classes"])
    net.classifier[2] = torch.nn.Identity()  # a ReLU of the logits
    net.load_state_dict(weights)
    return net.eval()


def load_wavemix(folder):
    import sys
    from pathlib import Path
    from types import SimpleNamespace

    from safetensors.torch import load_file

    sys.modules["numpy.lib.function_base"] = SimpleNamespace(hamming=None)  # NumPy 2 removed it
    from wavemix.classification import WaveMix  # pip install wavemix==0.2.4 pywavelets einops

    weights = load_file(Path(folder, "model.safetensors"))
    net = WaveMix(num_classes=len(weights["pool.2.bias"]))
    net.load_state_dict(weights)
    return net.eval()


def load_in_checkout(folder):
    import json
    from pathlib import Path

    from safetensors.torch import load_file

    from common.models.build import create_model, get_backbone  # of Clash of Backbones

    config = json.loads(Path(folder, "config.json").read_text())
    weights = load_file(Path(folder, "model.safetensors"))
    backbone, size = get_backbone(config["backbone"]), config["pretrained_cfg"]["input_size"][1:]
    net = create_model(backbone, config["num_classes"], weights, keep_head=True, size=tuple(size))
    return net.eval()
