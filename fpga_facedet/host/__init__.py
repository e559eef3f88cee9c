"""The host: pictures in, faces out. Sources, preprocessing, decoding, drawing, and the threads between them."""
