"""ResNet with and without CBAM: 50, 101 and 152 layers at 224x224x3, and a small one trained on digits."""
