"""The GAN family's networks, and the augmentation of the discriminator's inputs."""
