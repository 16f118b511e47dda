"""What is known of the corpus: images that are refused, by their reason, and those that Pillow shows otherwise."""

# The beginning of a reason -> images.
REFUSED = {
    "a CMYK JPEG": {"cmyk.jpg", "pil_sample_cmyk.jpg", "rgba.u1.jpg", "rgba.u2.jpg"},
    "a CMYK TIFF": {"tiff_strip_cmyk_16l_jpeg.tif", "tiff_strip_cmyk_jpeg.tif", "tiff_tiled_cmyk_jpeg.tif"},
    "a JPEG of 12-bit samples": {"gray.u2.jpg", "linearraw.ljp", "rgb.u2.jpg", "words.jpeg12.bin"},
    "a JPEG of 16-bit samples": {"1px.ljp", "gray16.ljp", *(f"dng{number}.ljp" for number in range(8))},
    "a TIFF compressed by method 6 ": {
        "old-style-jpeg-compression-no-samplesperpixel.tif",
        "old-style-jpeg-compression.tif",
    },
    "a TIFF compressed by method 34712 ": {"rgb.tiled.jpeg2000.u1.tif", "rgb.tiled.jpegxl.u1.tif"},
    "a TIFF compressed by method 34887 ": {"gray.lerc.u1.tif", "rgb.tiled.lerc.u1.tif"},
    "a TIFF compressed by method 34933 ": {"rgb.tiled.png.u1.tif"},
    "a TIFF compressed by method 34934 ": {"rgb.tiled.jpegxr.u1.tif"},
    "a TIFF compressed by method 50001 ": {"hopper_webp.tif", "rgb.tiled.webp.u1.tif"},
    "a TIFF in L*a*b* colours": {"hopper.Lab.tif", "lab-green.tif", "lab-red.tif", "lab.tif"},
    "a TIFF of 1 samples, photometric 1": {"gray.depth.deflate.u1.tif", "gray.depth.u1.tif"},
    "a TIFF of 128-bit complex128 samples": {"gray.c16.tif"},
    "a TIFF of 64-bit complex64 samples": {"gray.c8.tif"},
    "a TIFF of 5 samples": {"gray.contig.u1.tif", "gray.separate.u1.tif"},
    "a TIFF of 65535 samples": {"libtiff_segfault.tif"},
    "an animated WebP": {"frames.webp", "iss634.webp"},
    "the JPEG does not give its size": {"rgba.u1.jls"},
    "the JPEG header is cut short": {"bytes.jpeg8_tables.bin", "truncated.jpg", "words.jpeg12_tables.bin"},
    "the JPEG header is damaged": {"junk_jpeg_header.jpg", "photoshop-200dpi-broken.jpg", "truncated_app14.jpg"},
    "the JPEG is damaged": {"bytes.jpeg8.bin", "hopper_bad_exif.jpg"},
    "the JPEG is truncated": {"truncated_jpeg.jpg", "ultrahdr.jpg"},
    "the PNG does not begin with its header": {"broken.png"},
    "the PNG header is cut short": {"syntax_num_frames_zero.png"},
    "the PNG is damaged": {"chunk_no_fctl.png"},
    "the PNG is truncated": {"broken_data_stream.png", "truncated_end_chunk.png", "truncated_image.png"},
    "the TIFF ends before its picture data does": {
        "separate_planar_extra_samples.tiff",
        "tiff_wrong_bits_per_sample.tiff",
    },
    "the TIFF is damaged": {
        "oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif",
        "seek_too_large.tif",
        "tiff_overflow_rows_per_strip.tif",
        "tiff_tiled_jpeg_oob_read.tif",
        "timeout-6646305047838720",
    },
}
UNLIKE_PILLOW = {
    "10ct_32bit_128.tiff": "white is zero, which Pillow ignores in floats",
    "i_trns.png": "Pillow cuts 16-bit gray with a transparent level to 8 bits",
    "pil123p.png": "its gAMA chunk says that its levels are linear, which Pillow ignores",
    "pil123rgba.png": "its gAMA chunk says that its levels are linear, which Pillow ignores",
    "xmp_tags_orientation.png": "Pillow takes an orientation from XMP, as browsers do not",
    "xmp_tags_orientation_exiftool.png": "Pillow takes an orientation from XMP, as browsers do not",
}
