"""The GAN family's networks, and the augmentation of what the discriminator sees."""
