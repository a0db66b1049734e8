"""Names and documents of images: shared by the tool and the engine. All pure, all cheap to import."""
